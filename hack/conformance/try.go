// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cachewright/cachewright/hack/conformance/internal/driver"
	"github.com/cachewright/cachewright/hack/conformance/internal/stage"
	"github.com/cachewright/cachewright/hack/conformance/internal/suite"
	"github.com/cachewright/cachewright/hack/conformance/internal/vectors"
)

// try plays the cases, prints what became of them, and returns the status of the program.
func (o options) try(ctx context.Context, out io.Writer) (status int, err error) {
	file, err := vectors.Read(o.vectors)
	if err != nil {
		return notTried, err
	}
	cases := suite.Cases(file)
	if o.list {
		o.print(cases, out)
		return passed, nil
	}
	dir, err := os.MkdirTemp("", "cachewright-conformance-")
	if err != nil {
		return notTried, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer func() {
		stop()
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	redis, err := o.stage(ctx, dir)
	if err != nil {
		return notTried, err
	}
	summary := &summary{out: out, verbose: o.verbose}
	err = suite.Play(ctx, suite.Config{
		Stage: redis, RESP: o.resp, Patience: o.limit,
		Start: func() (*driver.Driver, error) { return driver.Start(o.command, o.limit) },
	}, cases, o.only, summary.add)
	if err = errors.Join(err, redis.Close(context.WithoutCancel(ctx))); err != nil {
		return notTried, err
	}
	return summary.end()
}

func (o options) stage(ctx context.Context, dir string) (*stage.Stage, error) {
	switch {
	case o.addr != "":
		return stage.At(ctx, o.addresses(), o.redis == "cluster")
	case o.redis == "cluster":
		return stage.Cluster(ctx, dir, o.acl)
	default:
		return stage.Single(ctx, dir, o.acl)
	}
}

func (o options) print(cases []suite.Case, out io.Writer) {
	for _, c := range cases {
		if !o.only.MatchString(c.String()) {
			continue
		}
		must := "optional"
		if c.Required {
			must = "required"
		}
		fmt.Fprintf(out, "%s  %s\n", must, c)
	}
}

// summary counts results, by part.
type summary struct {
	out     io.Writer
	verbose bool
	parts   []*counts
}

type counts struct {
	part                    string
	passed, failed, leftOut int
	reason                  error // why one was left out
}

func (s *summary) add(r suite.Result) {
	if len(s.parts) == 0 || s.parts[len(s.parts)-1].part != r.Part {
		s.parts = append(s.parts, &counts{part: r.Part})
	}
	of := s.parts[len(s.parts)-1]
	switch {
	case r.Failed():
		of.failed++
		reason := r.Err
		if driver.IsUnsupported(reason) {
			reason = fmt.Errorf("every client must do this: %w", reason)
		}
		fmt.Fprintf(s.out, "FAILED  %s\n        %v\n", r.Case, reason)
	case r.LeftOut():
		of.leftOut++
		of.reason = r.Err
	default:
		of.passed++
	}
	if s.verbose && !r.Failed() {
		verdict := "ok    "
		if r.LeftOut() {
			verdict = "-     "
		}
		fmt.Fprintf(s.out, "%s  %s (%s)\n", verdict, r.Case, r.Took.Round(time.Millisecond))
	}
}

// end prints the counts and returns the status of the program.
func (s *summary) end() (status int, err error) {
	var all counts
	for _, of := range s.parts {
		fmt.Fprintf(s.out, "%-10s  %3d passed", of.part, of.passed)
		if of.failed > 0 {
			fmt.Fprintf(s.out, ", %d failed", of.failed)
		}
		if of.leftOut > 0 {
			fmt.Fprintf(s.out, ", %d left out (%v)", of.leftOut, of.reason)
		}
		fmt.Fprintln(s.out)
		all.passed += of.passed
		all.failed += of.failed
		all.leftOut += of.leftOut
	}
	fmt.Fprintf(s.out, "%d cases passed, %d failed, %d left out\n",
		all.passed, all.failed, all.leftOut)
	switch {
	case all.failed > 0:
		return failed, nil
	case all.passed == 0:
		return notTried, errors.New("no case was played: does -run match any?")
	default:
		return passed, nil
	}
}
