// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package purges

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
)

// application reads one value through the Go client all the time, with a near cache in half of its readers. A read that
// began after the purge of a change was seen to be Complete must not return what was before; but near caches have
// the second that docs/architecture.md gives them.
type application struct {
	w       *world
	source  atomic.Int64 // the value
	floor   atomic.Int64 // the least that a read may return
	since   atomic.Int64 // from when on, in Unix nanoseconds
	reads   atomic.Int64
	cancel  func()
	readers sync.WaitGroup
}

const (
	watched = "watched"
	// grace of near caches.
	grace = time.Second
)

func (w *world) startApplication(group *redistest.SentinelGroup) *application {
	w.t.Helper()
	redisClient := group.Client()
	ctx, cancel := context.WithCancel(w.t.Context())
	a := &application{w: w, cancel: cancel}
	a.source.Store(1)
	w.t.Cleanup(a.end)
	for _, near := range []bool{false, true} {
		options := []cache.Option{cache.WithLogger(slog.New(slog.DiscardHandler))}
		if near {
			options = append(options, cache.WithNearCache(cache.NearCache{}))
		}
		cached, err := cache.New(redisClient, namespace, options...)
		w.must(err)
		w.t.Cleanup(func() { _ = cached.Close(context.Background()) })
		a.readers.Go(func() {
			for ctx.Err() == nil {
				a.read(ctx, cached, near)
			}
		})
	}
	return a
}

func (a *application) read(ctx context.Context, cached *cache.Client, near bool) {
	floor, old := a.floor.Load(), time.Since(time.Unix(0, a.since.Load()))
	if near && old < grace {
		floor = 0
	}
	value, err := cache.Fetch(ctx, cached, cache.Key{Module: moduleName(0), Operation: watched}, func(context.Context) (int64, error) {
		return a.source.Load(), nil
	})
	switch {
	case ctx.Err() != nil:
	case err != nil:
		a.w.find("the application was given an error: %v", err)
	case value < floor:
		a.w.find("lost: the application read %d, %s after the purge of it was Complete (near cache: %t)", value, old, near)
	}
	a.reads.Add(1)
}

// change changes the value, and purges the one before.
func (a *application) change() {
	a.w.t.Helper()
	ctx := a.w.t.Context()
	value := a.source.Add(1)
	object := a.w.objectOf(&purge{kind: operation})
	object.Name, object.Spec.Targets = watched, []v1.InvalidationTarget{{Module: moduleName(0), Operation: watched}}
	a.w.must(a.w.k8s.Create(ctx, object))
	a.w.must(eventually(ctx, "purge of what the application reads", func(ctx context.Context) error {
		if err := a.w.k8s.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil || object.Status.State != v1.StateComplete {
			return fmt.Errorf("it is %q (%w)", object.Status.State, err)
		}
		return nil
	}))
	a.since.Store(time.Now().UnixNano())
	a.floor.Store(value)
}

func (a *application) end() {
	a.cancel()
	a.readers.Wait()
}
