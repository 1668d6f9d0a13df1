// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package suite has the cases that a client must pass, and plays them. docs/clients.md says what
// each part is about.
package suite

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/cachewright/cachewright/hack/conformance/internal/driver"
	"github.com/cachewright/cachewright/hack/conformance/internal/stage"
	"github.com/cachewright/cachewright/hack/conformance/internal/vectors"
)

// Case is something that a client does or does not.
type Case struct {
	// Part and Name are unique together.
	Part, Name string
	// Required: a client that does not support it fails.
	Required bool

	play func(*scene)
}

func (c Case) String() string { return c.Part + ": " + c.Name }

// Cases returns all, in the order in which they are played.
func Cases(file *vectors.File) []Case {
	var cases []Case
	for _, part := range [][]Case{
		keyCases(file.Keys), entryCases(file.Entries), idCases(file.IDs),
		tokenCases(file.Tokens),
		scriptCases(file.Calls), refusalCases(file.Refusals),
		readCases(), answerCases(), fenceCases(), invalidationCases(), staleCases(), schemaCases(),
		heldCases(), holdCases(), putCases(), ttlCases(), waitCases(), countCases(), nearCases(),
		failureCases(), restartCases(),
	} {
		cases = append(cases, part...)
	}
	return cases
}

// errLeftOut says that a case cannot be played on this stage.
var errLeftOut = errors.New("left out: it needs a server that the runner may restart and stop")

// Result is the end of a case.
type Result struct {
	Case

	// Err is nil if the client passed.
	Err  error
	Took time.Duration
}

// LeftOut says that the case was not played, because the stage or the client does not have what it
// takes.
func (r Result) LeftOut() bool {
	return errors.Is(r.Err, errLeftOut) || driver.IsUnsupported(r.Err) && !r.Required
}

// Failed says that the client must be corrected.
func (r Result) Failed() bool { return r.Err != nil && !r.LeftOut() }

// Config says what is tried, and where.
type Config struct {
	Stage *stage.Stage
	// Start returns a driver. It is called once more after a case that failed, and for cases that
	// need a new process.
	Start func() (*driver.Driver, error)
	// RESP is the version of the protocol of Redis that the client is to use.
	RESP int
	// Patience is how long the effects of what a client does in the background may take.
	Patience time.Duration
}

// Play plays the cases that match, and passes each result to report. It fails if no driver can be
// started.
func Play(ctx context.Context, config Config, cases []Case, only *regexp.Regexp,
	report func(Result),
) error {
	w := &world{Config: config}
	for _, c := range cases {
		if !only.MatchString(c.String()) {
			continue
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), w.close())
		}
		began := time.Now()
		err := w.play(ctx, c)
		report(Result{Case: c, Err: err, Took: time.Since(began)})
		if w.startErr != nil {
			return w.startErr
		}
	}
	return w.close()
}

// world is what the cases share.
type world struct {
	Config

	driver   *driver.Driver // nil: none runs
	opened   *options       // nil: the driver has not opened a client
	startErr error
	modules  int
}

func (w *world) play(ctx context.Context, c Case) (err error) {
	s := &scene{ctx: ctx, world: w}
	defer func() {
		if err != nil && !driver.IsUnsupported(err) && w.driver != nil {
			_ = w.driver.Close() // loads may still be under way
			w.driver = nil
		}
	}()
	defer func() {
		switch problem := recover().(type) {
		case nil:
		case failure:
			err = problem.error
		default:
			panic(problem)
		}
	}()
	c.play(s)
	return nil
}

func (w *world) close() error {
	if w.driver == nil {
		return nil
	}
	if err := w.driver.Close(); err != nil {
		return fmt.Errorf("at the end of all cases: %w", err)
	}
	return nil
}
