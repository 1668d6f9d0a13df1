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

	"github.com/redis/go-redis/v9"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/cache"
)

// application reads one value through the Go client all the time. Half of its readers have a near
// cache. A read must not return an old value if it began after the purge was seen to be Complete.
// Near caches may be late by the second that docs/architecture.md grants them. Reads must not fail,
// whatever is disturbed.
type application struct {
	w       *world
	source  atomic.Int64 // the current value
	floor   atomic.Int64 // the smallest value that a read may return
	since   atomic.Int64 // when floor was set, in Unix nanoseconds
	reads   atomic.Int64
	changes sync.WaitGroup
	// changing means that a purge of the value is under way.
	changing atomic.Bool
	cancel   func()
	readers  sync.WaitGroup
}

const (
	watched = "watched"
	// grace is how late near caches may be.
	grace = time.Second
	// pause is the time between two reads of a reader, which leaves CPU time to others.
	pause = 5 * time.Millisecond
)

func (w *world) startApplication(redisClient redis.UniversalClient) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	a := &application{w: w, cancel: cancel}
	a.source.Store(1)
	w.t.Cleanup(a.end)
	for _, near := range []bool{false, true} {
		options := []cache.Option{cache.WithLogger(slog.New(slog.DiscardHandler))}
		if near {
			options = append(options, cache.WithNearCache(cache.NearCache{}))
		}
		cached, err := cache.New(redisClient, string(w.shop), options...)
		w.must(err)
		w.t.Cleanup(func() { _ = cached.Close(context.Background()) })
		a.readers.Go(func() {
			for ctx.Err() == nil {
				a.read(ctx, cached, near)
				time.Sleep(pause)
			}
		})
	}
	w.application = a
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

// change changes the value and creates a purge, unless such a purge is under way.
func (a *application) change() {
	if !a.changing.CompareAndSwap(false, true) {
		return
	}
	a.changes.Go(func() {
		defer a.changing.Store(false)
		if err := a.purge(a.w.t.Context()); err != nil {
			a.w.find("purge of what the application reads: %v", err)
		}
	})
}

func (a *application) purge(ctx context.Context) error {
	value := a.source.Add(1)
	object := a.w.objectOf(&purge{shop: a.w.shop, kind: operation})
	object.Name = fmt.Sprintf("%s-%d", watched, value)
	object.Spec.Targets = []v1.InvalidationTarget{{Module: moduleName(0), Operation: watched}}
	create := func(ctx context.Context) error {
		return client.IgnoreAlreadyExists(a.w.k8s.Create(ctx, object.DeepCopy()))
	}
	if err := eventually(ctx, "creation", create); err != nil {
		return err
	}
	err := eventually(ctx, "end", func(ctx context.Context) error {
		if err := a.w.k8s.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil || object.Status.State != v1.StateComplete {
			return fmt.Errorf("the state is %q (%w)", object.Status.State, err)
		}
		return nil
	})
	if err == nil {
		a.since.Store(time.Now().UnixNano())
		a.floor.Store(value)
	}
	return err
}

// settle waits until no purge of the value is under way.
func (a *application) settle() { a.changes.Wait() }

func (a *application) end() {
	a.settle()
	a.cancel()
	a.readers.Wait()
}
