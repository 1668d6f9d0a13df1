// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package background_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/cache/internal/background"
)

type key struct{}

func TestATaskOutlivesTheContextItWasStartedWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := background.New(func(value any) { t.Error(value) })
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
		started := make(chan context.Context, 1)
		r.Start(ctx, func(ctx context.Context) {
			started <- ctx
			<-ctx.Done()
		})
		task := <-started
		cancel()
		synctest.Wait()
		if task.Err() != nil || task.Value(key{}) != "value" {
			t.Errorf("the task has %v, with the value %v", task, task.Value(key{}))
		}
		if err := r.Close(t.Context()); err != nil || task.Err() == nil {
			t.Errorf("closing: %v; the context of the task: %v", err, task.Err())
		}
		if !r.Closed() || r.Start(t.Context(), func(context.Context) {}) {
			t.Error("a task was started although the runner is closed")
		}
	})
}

func TestAPanicEndsItsTaskAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var panicked any
		r := background.New(func(value any) { panicked = value })
		r.Start(t.Context(), func(context.Context) { panic("a task") })
		synctest.Wait()
		if panicked != "a task" {
			t.Errorf("got %v", panicked)
		}
		if !r.Start(t.Context(), func(context.Context) {}) {
			t.Error("no task starts after a panic")
		}
		_ = r.Close(t.Context())
	})
}

func TestCloseWaitsNoLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := background.New(func(value any) { t.Error(value) })
		r.Start(t.Context(), func(context.Context) { time.Sleep(time.Minute) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if err := r.Close(t.Context()); err != nil {
			t.Errorf("closing again: %v", err)
		}
	})
}
