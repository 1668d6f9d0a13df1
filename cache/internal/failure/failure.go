// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package failure counts, logs and passes on what the cache could not do.
package failure

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/redact"
)

// logInterval keeps a failing Redis from filling the log.
const logInterval = 10 * time.Second

// Reports passes failures to the log, the counts and the application.
type Reports struct {
	log   func(module, operation string, err error)
	hook  Hook
	count func(module, operation string)
}

// Hook is called for each failure. The operation is empty if the failure concerns the module, the
// module if it concerns the namespace.
type Hook func(module, operation string, err error)

// New returns Reports to a logger and, unless it is nil, a hook. Call CountWith before Add.
func New(logger *slog.Logger, hook Hook) *Reports {
	return &Reports{log: logTo(logger), hook: hook}
}

// CountWith sets the function that counts failures.
func (r *Reports) CountWith(count func(module, operation string)) { r.count = count }

// logTo returns a function that logs the first failure, and then one in each interval.
func logTo(logger *slog.Logger) func(module, operation string, err error) {
	sometimes := rate.Sometimes{First: 1, Interval: logInterval}
	return func(module, operation string, err error) {
		sometimes.Do(func() {
			logger.Warn("Cache failed, the application is served from its source",
				"module", module, "operation", operation, "error", err)
		})
	}
}

// Add counts and reports a failure. It ignores calls that their caller cancelled.
func (r *Reports) Add(module, operation string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	r.count(module, operation)
	r.Report(module, operation, err)
}

// Count counts a failure of a kind that was reported before.
func (r *Reports) Count(module, operation string) { r.count(module, operation) }

// Report logs a failure and passes it to the application. It ignores calls that a breaker stopped:
// there is one for each request, and they say nothing new.
func (r *Reports) Report(module, operation string, err error) {
	if errors.Is(err, gateway.ErrPaused) {
		return
	}
	r.log(module, operation, err)
	if r.hook != nil {
		r.hook(module, operation, err)
	}
}

// ReportContained is Report for a goroutine of the Client that must go on if the logger or the hook
// panics.
func (r *Reports) ReportContained(module, operation string, err error) {
	defer func() {
		if value := recover(); value != nil {
			r.Panicked(value)
		}
	}()
	r.Report(module, operation, err)
}

// Panicked reports a panic on a goroutine of the Client, where it would end the process. Functions
// of the application run there, such as the logger and the hook.
func (r *Reports) Panicked(value any) {
	defer func() { _ = recover() }() // of the logger or the hook that panicked before
	r.Report("", "", redact.Panic("a function that runs in the background panicked", value))
}
