// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"github.com/cachewright/cachewright/registry"
)

// Failure is something that the cache could not do. It holds neither payloads nor params nor users,
// so it may be logged and counted.
type Failure struct {
	Module    string
	Operation string // empty where it concerns the whole module
	Err       error
}

// logInterval keeps a failing Redis from filling the log.
const logInterval = 10 * time.Second

// logFailures returns a hook that logs the first failure and then one each interval.
func logFailures(logger *slog.Logger) func(Failure) {
	sometimes := rate.Sometimes{First: 1, Interval: logInterval}
	return func(f Failure) {
		sometimes.Do(func() {
			logger.Warn("the cache failed; the application is served from its source",
				"module", f.Module, "operation", f.Operation, "error", f.Err)
		})
	}
}

// failed counts a failure and tells of it. What the caller broke off is none.
func (c *Client) failed(module, operation string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	c.reports.Add(module, operation, registry.Counters{Errors: 1})
	c.tell(module, operation, err)
}

// tell passes a failure on. Reads that do not even ask Redis are as many as there are requests, and
// say nothing new.
func (c *Client) tell(module, operation string, err error) {
	if errors.Is(err, errPaused) {
		return
	}
	c.log(Failure{Module: module, Operation: operation, Err: err})
	if c.failureHook != nil {
		c.failureHook(Failure{Module: module, Operation: operation, Err: err})
	}
}
