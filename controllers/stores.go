// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// Stores has a Monitor for each store: the operator's own and those that CacheStores declare. They
// start, change and stop with their resources, and none waits for another.
type Stores struct {
	surroundings

	// Live reads Secrets from the API server.
	Live client.Reader

	mu       sync.Mutex
	running  context.Context // nil: not started //nolint:containedctx // monitors come and go while it lasts
	monitors map[storeID]*watched
	done     sync.WaitGroup
}

// watched is a store with its monitor.
type watched struct {
	monitor  *Monitor
	declared *declaredStore // nil: the default store
	stop     context.CancelFunc
}

func newStores(s surroundings, live client.Reader) *Stores {
	return &Stores{surroundings: s, Live: live, monitors: map[storeID]*watched{}}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: the default store decides whether a
// replica is ready.
func (s *Stores) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable: it watches the stores until the context ends.
func (s *Stores) Start(ctx context.Context) error {
	s.Journal.begin(s.Clock.Now())
	s.mu.Lock()
	s.running = ctx
	for _, w := range s.monitors {
		s.start(w)
	}
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	s.running = nil // nobody is started any more
	s.mu.Unlock()
	s.done.Wait()
	return nil
}

// Open implements StoreProvider.
func (s *Stores) Open(ctx context.Context, id storeID) *Session {
	w := s.watched(id)
	if w == nil {
		return &Session{place: place{id: id}, err: s.missing(ctx, id)}
	}
	if err := s.outdated(ctx, id, w.declared); err != nil {
		return &Session{place: place{id: id}, err: err}
	}
	return w.monitor.Open()
}

// outdated says whether a CacheStore is another by now than its monitor was told: what is done from now on must not be
// done in a Redis that it names no more.
func (s *Stores) outdated(ctx context.Context, id storeID, declared *declaredStore) error {
	if declared == nil {
		return nil
	}
	store := &v1.CacheStore{}
	if err := s.Reader.Get(ctx, id, store, readOnly); err != nil {
		return unread(id, err)
	}
	switch {
	case declared.declaration().generation == editionOf(store):
		return nil
	case !store.DeletionTimestamp.IsZero() && !controllerutil.ContainsFinalizer(store, v1.CacheStoreFinalizer):
		return errStoreNotFound // others hold it, its monitor follows it no more
	default:
		return errStorePending
	}
}

func (s *Stores) watched(id storeID) *watched {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.monitors[id]
}

// missing says why there is no monitor of a store.
func (s *Stores) missing(ctx context.Context, id storeID) error {
	if id == defaultStore {
		return errStoreRequired
	}
	if err := s.Reader.Get(ctx, id, &v1.CacheStore{}, readOnly); err != nil {
		return unread(id, err)
	}
	return errStorePending
}

func unread(id storeID, err error) error {
	if apierrors.IsNotFound(err) {
		return errStoreNotFound
	}
	return fmt.Errorf("reading CacheStore %s: %w", id, err)
}

// give adds a store that is there for as long as the operator runs.
func (s *Stores) give(id storeID, store Store, address string, loss v1.DataLossPolicy) *Monitor {
	at := place{id: id, address: address}
	w := &watched{monitor: newMonitor(id, givenStore{store: store, place: at, loss: loss}, s.surroundings)}
	w.monitor.place = at
	s.add(id, w)
	return w.monitor
}

// declare makes the monitor of a CacheStore follow what the resource says now, and returns it.
func (s *Stores) declare(store *v1.CacheStore) *Monitor {
	id := client.ObjectKeyFromObject(store)
	w := s.watched(id)
	if w == nil {
		declared := &declaredStore{live: s.Live, check: s.DialCheck}
		declared.declare(store)
		w = &watched{monitor: newMonitor(id, declared, s.surroundings), declared: declared}
		w.monitor.place = placeOf(store)
		s.add(id, w)
		return w.monitor
	}
	if w.declared.declare(store) {
		w.monitor.lookNow()
	}
	return w.monitor
}

func (s *Stores) add(id storeID, w *watched) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.monitors[id] = w
	if s.running != nil {
		s.start(w)
	}
}

// start is called with the lock held.
func (s *Stores) start(w *watched) {
	var ctx context.Context
	ctx, w.stop = context.WithCancel(s.running)
	s.done.Go(func() { w.monitor.run(ctx) })
}

// drop ends the monitor of a CacheStore that is no more, and wakes those that refer to it still. It waits for no server: a
// look that is under way there ends by its timeouts, and writes nothing any more.
func (s *Stores) drop(ctx context.Context, id storeID) {
	s.mu.Lock()
	w := s.monitors[id]
	delete(s.monitors, id)
	s.mu.Unlock()
	if w == nil {
		return
	}
	if w.stop != nil {
		w.stop()
	}
	w.monitor.drop()
	w.monitor.wakeAll(ctx)
}
