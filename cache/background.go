// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"sync"

	"github.com/cachewright/cachewright/cache/internal/flight"
)

// background runs what no caller waits for, until it is closed.
type background struct {
	panicked func(value any) // is told of a task that panicked

	ctx    context.Context // ends when the background is closed
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	tasks  sync.WaitGroup
}

func newBackground(panicked func(value any)) *background {
	ctx, cancel := context.WithCancel(context.Background())
	return &background{panicked: panicked, ctx: ctx, cancel: cancel}
}

// start runs a task on a goroutine of its own and says so, unless the background is closed. A panic ends the task alone. The
// task's context has the values of the one given, and ends when the background is closed. No load is part of it.
func (b *background) start(values context.Context, task func(context.Context)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.tasks.Add(1)
	go func() {
		defer b.tasks.Done()
		defer func() {
			if value := recover(); value != nil {
				b.panicked(value)
			}
		}()
		ctx, cancel := context.WithCancel(flight.Detached(context.WithoutCancel(values)))
		defer cancel()
		defer context.AfterFunc(b.ctx, cancel)()
		task(ctx)
	}()
	return true
}

// ended says that the background is closed.
func (b *background) ended() bool { return b.ctx.Err() != nil }

// close ends the tasks and waits for them for as long as ctx lasts.
func (b *background) close(ctx context.Context) error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	ended := make(chan struct{})
	go func() {
		b.tasks.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
