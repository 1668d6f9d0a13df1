// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"context"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/stores/calls"
)

// Manager has a Monitor for each store: the operator's own and those that CacheStores declare. They
// start, change and stop with their resources, and none waits for another.
type Manager struct {
	deps Deps

	mu sync.Mutex
	// nil: not started //nolint:containedctx // monitors come and go while it lasts
	running  context.Context
	monitors map[resource.StoreID]*watched
	done     sync.WaitGroup
}

// watched is a store with its monitor.
type watched struct {
	monitor  *Monitor
	declared *declaredStore // nil: the default store
	stop     context.CancelFunc
}

// NewManager returns a manager without stores.
func NewManager(deps Deps) *Manager {
	return &Manager{deps: deps, monitors: map[resource.StoreID]*watched{}}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: the default store decides whether a
// replica is ready.
func (m *Manager) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable: it watches the stores until the context ends.
func (m *Manager) Start(ctx context.Context) error {
	m.deps.Journal.Start(m.deps.Clock.Now())
	m.mu.Lock()
	m.running = ctx
	for _, w := range m.monitors {
		m.start(w)
	}
	m.mu.Unlock()
	<-ctx.Done()
	m.mu.Lock()
	m.running = nil // nobody is started any more
	m.mu.Unlock()
	m.done.Wait()
	return nil
}

// Open implements Provider.
func (m *Manager) Open(ctx context.Context, id resource.StoreID) *Session {
	w := m.watched(id)
	if w == nil {
		return NewSession(nil, status.Location{ID: id}, m.whyMissing(ctx, id))
	}
	if err := m.checkCurrent(ctx, id, w.declared); err != nil {
		return NewSession(nil, status.Location{ID: id}, err)
	}
	return w.monitor.Open()
}

// checkCurrent fails if a CacheStore has changed since its monitor heard of it. Nothing may be done
// any more in a Redis that it does not name now.
func (m *Manager) checkCurrent(
	ctx context.Context, id resource.StoreID, declared *declaredStore,
) error {
	if declared == nil {
		return nil
	}
	store := &v1.CacheStore{}
	if err := m.deps.Reader.Get(ctx, id, store, resource.ReadOnly); err != nil {
		return readError(id, err)
	}
	switch {
	case declared.declaration().version == VersionOf(store):
		return nil
	case !store.DeletionTimestamp.IsZero() && !controllerutil.ContainsFinalizer(store,
		v1.CacheStoreFinalizer):
		return status.ErrStoreNotFound // others hold it, its monitor does not follow it any more
	default:
		return status.ErrStorePending
	}
}

func (m *Manager) watched(id resource.StoreID) *watched {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.monitors[id]
}

// whyMissing says why a store has no monitor.
func (m *Manager) whyMissing(ctx context.Context, id resource.StoreID) error {
	if id == resource.DefaultStore {
		return status.ErrStoreRequired
	}
	if err := m.deps.Reader.Get(ctx, id, &v1.CacheStore{}, resource.ReadOnly); err != nil {
		return readError(id, err)
	}
	return status.ErrStorePending
}

func readError(id resource.StoreID, err error) error {
	if apierrors.IsNotFound(err) {
		return status.ErrStoreNotFound
	}
	return fmt.Errorf("reading CacheStore %s: %w", id, err)
}

// Give adds a store that is there for as long as the operator runs.
func (m *Manager) Give(
	id resource.StoreID, store calls.Store, address string, loss v1.DataLossPolicy,
) *Monitor {
	given := givenStore{store: store, location: status.Location{ID: id, Address: address}, loss: loss}
	w := &watched{monitor: newMonitor(id, given, m.deps)}
	m.add(id, w)
	return w.monitor
}

// Follow makes the monitor of a CacheStore follow what the resource says now. It returns the result
// of the last probe, nil before the first one, and the name of the store in messages.
func (m *Manager) Follow(store *v1.CacheStore) (*ProbeResult, status.Location) {
	return m.declare(store).Report()
}

func (m *Manager) declare(store *v1.CacheStore) *Monitor {
	id := client.ObjectKeyFromObject(store)
	w := m.watched(id)
	if w == nil {
		declared := &declaredStore{live: m.deps.Live, check: m.deps.DialCheck}
		declared.declare(store)
		w = &watched{monitor: newMonitor(id, declared, m.deps), declared: declared}
		m.add(id, w)
		return w.monitor
	}
	if w.declared.declare(store) {
		w.monitor.probeNow()
	}
	return w.monitor
}

func (m *Manager) add(id resource.StoreID, w *watched) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.monitors[id] = w
	if m.running != nil {
		m.start(w)
	}
}

// start is called with the lock held.
func (m *Manager) start(w *watched) {
	var ctx context.Context
	ctx, w.stop = context.WithCancel(m.running)
	m.done.Go(func() { w.monitor.run(ctx) })
}

// Drop ends the monitor of a CacheStore that is deleted, and wakes those that still refer to it. It
// waits for no server: a probe that still runs ends by its timeouts, and writes nothing any more.
func (m *Manager) Drop(ctx context.Context, id resource.StoreID) {
	m.mu.Lock()
	w := m.monitors[id]
	delete(m.monitors, id)
	m.mu.Unlock()
	if w == nil {
		return
	}
	if w.stop != nil {
		w.stop()
	}
	w.monitor.drop()
	w.monitor.waker.wakeAll(ctx)
}

// IsSlow reports whether a store answers slowly, so that what waits for it must not hold up others.
func (m *Manager) IsSlow(id resource.StoreID) bool {
	w := m.watched(id)
	return w != nil && w.monitor.isSlow()
}
