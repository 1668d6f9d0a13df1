// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cachewright/cachewright/registry"
)

const (
	// maxCheckInterval bounds the backoff of checks of a store that is down.
	maxCheckInterval = 30 * time.Second
	// checkTimeout bounds one look at the store.
	checkTimeout = 10 * time.Second
)

// Monitor does for all resources what is to be done once for the store: it checks whether the
// store answers and is what it was, installs the function library, finds policies that are
// missing or differ, and wakes the resources concerned. Every replica checks, to tell whether it
// is ready; only the leader writes.
type Monitor struct {
	// Store to watch.
	Store MonitorStore
	// Reader reads from the cache.
	Reader  client.Reader
	Metrics *Metrics
	Clock   clock.Clock
	Log     logr.Logger
	// Address names the store in messages. It holds no secret.
	Address string
	// Interval between checks, 5s for example; of a store that is down longer and longer.
	Interval time.Duration
	// Elected is closed when this replica becomes the leader.
	Elected <-chan struct{}

	policies      wakeups
	invalidations wakeups
	allInPlace    bool // as the last sweep found

	mu     sync.Mutex
	found  chan struct{} // closed at the first finding
	err    error
	runIDs []string
}

// newMonitor returns a Monitor that has found nothing yet; its fields are to be set.
func newMonitor() *Monitor {
	return &Monitor{
		policies:      make(wakeups),
		invalidations: make(wakeups),
		found:         make(chan struct{}),
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (m *Monitor) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable: it watches the store until the context ends.
func (m *Monitor) Start(ctx context.Context) error {
	elected := m.Elected
	backoff := m.newBackoff()
	for ctx.Err() == nil {
		next := m.Interval
		if err := m.look(ctx); err != nil {
			next = backoff.Step()
		} else {
			backoff = m.newBackoff()
		}
		timer := m.Clock.NewTimer(wait.Jitter(next, waitJitter))
		select {
		case <-ctx.Done():
		case <-timer.C():
		case <-elected:
			elected = nil // there is work for the leader now; later, the timer alone counts
		}
		timer.Stop()
	}
	return nil
}

func (m *Monitor) newBackoff() wait.Backoff {
	return wait.Backoff{
		Duration: min(time.Second, m.Interval), Factor: 2, Steps: 100, Cap: max(maxCheckInterval, m.Interval),
	}
}

// Err implements StoreHealth.
func (m *Monitor) Err(ctx context.Context) error {
	select {
	case <-m.found:
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Ready is a readiness check: it fails while the store cannot be used, and says why.
func (m *Monitor) Ready(*http.Request) error {
	select {
	case <-m.found:
	default:
		return fmt.Errorf("redis at %s has not been checked yet", m.Address)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return errors.New(faultOf(m.err, m.Address).message)
	}
	return nil
}

// look takes one look at the store, and acts on what it finds.
func (m *Monitor) look(ctx context.Context) error {
	checkCtx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	health, err := m.check(checkCtx)
	if ctx.Err() != nil {
		return nil
	}
	changed := m.note(health, err)
	if !m.leads() {
		return err
	}
	if changed {
		m.wakeAll(ctx)
	}
	if err != nil {
		return err
	}
	if err := m.mend(ctx); err != nil && ctx.Err() == nil {
		m.Log.Error(err, "Looking for policies that are missing in Redis failed, it is tried again")
	}
	return nil
}

// check returns what the store is, once the function library is in it if this replica leads.
func (m *Monitor) check(ctx context.Context) (registry.Health, error) {
	health, err := m.Store.Check(ctx)
	if err != nil || !m.leads() || health.LibraryVersion >= registry.LibraryVersion {
		return health, err
	}
	loaded, err := m.Store.Install(ctx)
	if err != nil {
		return health, fmt.Errorf("installing the function library: %w", err)
	}
	m.Log.Info("Installed the function library", "store", m.Address, "servers", loaded, "version", registry.LibraryVersion)
	return health, nil
}

func (m *Monitor) leads() bool {
	select {
	case <-m.Elected:
		return true
	default:
		return false
	}
}

// note remembers a finding and says whether it concerns every resource: the store went, came back,
// is refused for another reason, or was restarted or replaced.
func (m *Monitor) note(health registry.Health, err error) (changed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.found:
	default:
		defer close(m.found)
		defer func() { changed = false }() // every resource is looked at anyway when the operator starts
	}
	was, is := faultOf(m.err, m.Address), faultOf(err, m.Address)
	if is != nil {
		m.Metrics.storeUp.Set(0)
		if was != nil && was.reason == is.reason {
			return false // and m.err stays, so that what is said of the same trouble stays the same
		}
		m.Log.Error(err, "Redis cannot be used", "store", m.Address, "reason", is.reason)
		m.err = err
		return true
	}
	m.Metrics.storeUp.Set(1)
	changed = was != nil || !slices.Equal(m.runIDs, health.RunIDs)
	if changed {
		m.Log.Info("Redis can be used", "store", m.Address, "version", health.Version, "runIDs", health.RunIDs)
	}
	m.err, m.runIDs = nil, health.RunIDs
	return changed
}
