// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package background runs the work that no caller waits for, until it is closed.
package background

import (
	"context"
	"sync"
	"time"

	"github.com/cachewright/cachewright/cache/internal/flight"
)

// Runner runs tasks, each on a goroutine of its own.
type Runner struct {
	panicked func(value any)

	ctx    context.Context // ends when the Runner is closed
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	tasks  sync.WaitGroup
}

// New returns a Runner. It passes the value of a panic in a task to panicked.
func New(panicked func(value any)) *Runner {
	ctx, cancel := context.WithCancel(context.Background())
	return &Runner{panicked: panicked, ctx: ctx, cancel: cancel}
}

// Start runs a task and returns true, or returns false if the Runner is closed. A panic ends the
// task alone. The context of the task has the values of the given one, but it ends only when the
// Runner is closed. It belongs to no load, even if the given one does.
func (r *Runner) Start(values context.Context, task func(context.Context)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.tasks.Add(1)
	go func() {
		defer r.tasks.Done()
		defer func() {
			if value := recover(); value != nil {
				r.panicked(value)
			}
		}()
		ctx, cancel := context.WithCancel(flight.Detached(context.WithoutCancel(values)))
		defer cancel()
		defer context.AfterFunc(r.ctx, cancel)()
		task(ctx)
	}()
	return true
}

// Closed reports whether Close was called.
func (r *Runner) Closed() bool { return r.ctx.Err() != nil }

// Close ends the contexts of the tasks and waits for the tasks until ctx ends.
func (r *Runner) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	ended := make(chan struct{})
	go func() {
		r.tasks.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Sleep waits until d has passed or ctx ends.
func Sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
