// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/redact"
	"github.com/cachewright/cachewright/cache/internal/report"
	"github.com/cachewright/cachewright/registry"
)

// Failure is something that the cache could not do. It holds neither payloads nor params nor users,
// so it may be logged and counted.
type Failure struct {
	Module    string
	Operation string // empty if it concerns the whole module
	Err       error
}

// logInterval keeps a failing Redis from filling the log.
const logInterval = 10 * time.Second

// failures logs failures, counts them, and passes them to the application.
type failures struct {
	log     func(Failure)
	hook    func(Failure)    // nil: none
	reports *report.Reporter // set before the first call to Redis
}

func newFailures(logger *slog.Logger, hook func(Failure)) *failures {
	return &failures{log: logFailures(logger), hook: hook}
}

// logFailures returns a function that logs the first failure, and then one in each interval.
func logFailures(logger *slog.Logger) func(Failure) {
	sometimes := rate.Sometimes{First: 1, Interval: logInterval}
	return func(f Failure) {
		sometimes.Do(func() {
			logger.Warn("Cache failed, the application is served from its source",
				"module", f.Module, "operation", f.Operation, "error", f.Err)
		})
	}
}

// add counts and reports a failure. It ignores calls that their caller cancelled.
func (f *failures) add(module, operation string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	f.reports.Add(module, operation, registry.Counters{Errors: 1})
	f.report(module, operation, err)
}

// report logs a failure and passes it to the application. It ignores calls that a breaker stopped:
// there is one for each request, and they say nothing new.
func (f *failures) report(module, operation string, err error) {
	if errors.Is(err, gateway.ErrPaused) {
		return
	}
	failure := Failure{Module: module, Operation: operation, Err: err}
	f.log(failure)
	if f.hook != nil {
		f.hook(failure)
	}
}

// reportContained is report for a goroutine of the Client that must go on if the logger or the hook
// panics.
func (f *failures) reportContained(module, operation string, err error) {
	defer func() {
		if value := recover(); value != nil {
			f.panicked(value)
		}
	}()
	f.report(module, operation, err)
}

// panicked reports a panic on a goroutine of the Client, where it would end the process. Functions
// of the application run there, such as the logger and the hook.
func (f *failures) panicked(value any) {
	defer func() { _ = recover() }() // of the logger or the hook that panicked before
	f.report("", "", redact.Panic("a function that runs in the background panicked", value))
}
