// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package settle sends COMMIT and finds out what became of it, also when the connection is lost.
package settle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cachewright/cachewright/internal/contain"
)

// Outcome is what became of a transaction.
type Outcome uint8

// The outcomes.
const (
	// Unknown: the database may have committed it, or may do so yet.
	Unknown Outcome = iota
	Committed
	RolledBack
	// Open: the database still has it open. Ask again.
	Open
)

// Pauses between questions.
const (
	firstPause = 10 * time.Millisecond
	lastPause  = time.Second
)

const (
	// askTime bounds one question.
	askTime = 2 * time.Second
	// cancelTime is how long a driver has to return from a COMMIT that was cancelled.
	cancelTime = time.Second
)

var (
	errPanic    = errors.New("a driver panicked in COMMIT")
	errNoAnswer = errors.New("COMMIT was not answered in time")
	errLate     = errors.New("the database answered too late: it may have forgotten the transaction")
)

// Attempt is one COMMIT. All fields are needed, but for Ask.
type Attempt struct {
	// Commit sends COMMIT.
	Commit func() error
	// Cancel makes Commit return, if the driver can. It also ends the connection.
	Cancel func()
	// Final says whether an error of Commit proves that nothing was committed.
	Final func(error) bool
	// Abandon closes the connection, if it cannot be trusted any more. If COMMIT hangs on it, it is
	// called when the driver returns: later, on another goroutine.
	Abandon func()
	// Ask asks the database on another connection. Nil: it cannot tell.
	Ask func(context.Context) (Outcome, error)
	// Due tells when the next call of Keep is due.
	Due func() <-chan time.Time
	// Keep is called while the outcome is open.
	Keep func(context.Context)
}

// Result is what Settle finds out.
type Result struct {
	Outcome Outcome
	// Lost says that the connection was given up.
	Lost bool
	// Err says why it is not Committed.
	Err error
}

// Settle commits, and finds out what became of it. It gives up when ctx ends.
func (a *Attempt) Settle(ctx context.Context) Result {
	err := a.commit(ctx)
	switch {
	case err == nil:
		return Result{Outcome: Committed}
	case a.Final(err):
		return Result{Outcome: RolledBack, Err: err}
	case !errors.Is(err, errNoAnswer):
		a.Abandon()
	}
	if a.Ask == nil {
		return Result{Lost: true, Err: err}
	}
	outcome, asking := a.resolve(ctx)
	if outcome == Committed {
		return Result{Outcome: Committed, Lost: true}
	}
	return Result{Outcome: outcome, Lost: true, Err: errors.Join(err, asking)}
}

// commit sends COMMIT, and keeps what must be kept until it is answered. If it is not, the error is
// errNoAnswer.
func (a *Attempt) commit(ctx context.Context) error {
	answer := make(chan error, 1)
	go func() {
		var err error
		defer func() { answer <- err }()
		defer contain.Panic(&err, errPanic)
		err = a.Commit()
	}()
	for {
		select {
		case err := <-answer:
			return err
		case <-a.Due():
			a.Keep(ctx)
		case <-ctx.Done():
			return a.cancel(ctx, answer)
		}
	}
}

// cancel gives the driver a moment to return from COMMIT.
func (a *Attempt) cancel(ctx context.Context, answer <-chan error) error {
	a.Cancel()
	select {
	case err := <-answer:
		return err
	case <-time.After(cancelTime):
	}
	go func() {
		var ignored error
		defer contain.Panic(&ignored, errPanic)
		ignored = <-answer
		a.Abandon()
	}()
	return fmt.Errorf("%w: %w", errNoAnswer, ctx.Err())
}

// resolve asks until the database knows the outcome.
func (a *Attempt) resolve(ctx context.Context) (Outcome, error) {
	pause := firstPause
	for {
		outcome, err := a.ask(ctx)
		switch {
		case outcome == RolledBack && isOver(ctx):
			return Unknown, errors.Join(err, errLate)
		case outcome != Open:
			return outcome, err
		}
		if !a.rest(ctx, pause) {
			return Unknown, errors.Join(err, ctx.Err())
		}
		pause = min(2*pause, lastPause)
	}
}

// isOver looks at the clock: in a process that was frozen, the timer of ctx may not have fired yet.
func isOver(ctx context.Context) bool {
	deadline, is := ctx.Deadline()
	return is && !time.Now().Before(deadline)
}

func (a *Attempt) ask(ctx context.Context) (Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return a.Ask(ctx)
}

// rest waits, and keeps what must be kept meanwhile.
func (a *Attempt) rest(ctx context.Context, pause time.Duration) bool {
	over := time.After(pause)
	for {
		select {
		case <-over:
			return true
		case <-a.Due():
			a.Keep(ctx)
		case <-ctx.Done():
			return false
		}
	}
}
