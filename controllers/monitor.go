// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
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

// Monitor does for all resources of a store what is to be done once for the store: it connects,
// checks whether the store answers and is what it was, installs the function library, finds policies
// that are missing or differ, and wakes the resources concerned. It looks now and then, longer and
// longer after one another while the store is down; only the leader writes.
type Monitor struct {
	surroundings

	// id of the store.
	id storeID
	// connector makes connections to it.
	connector connector

	// now tells the monitor to look at once.
	now chan struct{}

	told       map[string]string // what failed when it was last tried, and how
	allInPlace bool              // as the last sweep found
	nextCount  time.Time         // when figures are read again
	fenced     fenced
	lists      *moduleLists

	series  sync.Mutex // guards dropped and what the monitor writes into metrics
	dropped bool       // the store is no more

	pace pace

	mu      sync.Mutex
	place   place
	link    *link     // nil: not connected
	found   *finding  // nil: nobody looked yet
	runIDs  []string  // as last found
	foundAt time.Time // when it was looked at
	doubted bool      // a reconcile met an error since the last look
	turned  bool      // resources may have been turned away before there was a monitor
	waiting map[waiter]struct{}
	renewed time.Time // when the connection was last held against its declaration
	refusal error     // why the store could not be connected to as declared, when that was last known; nil: it could
	figures *figures  // as last counted; nil: not yet
}

// surroundings are what all monitors share.
type surroundings struct {
	// Reader reads from the cache.
	Reader  client.Reader
	Metrics *Metrics
	Clock   clock.Clock
	Log     logr.Logger
	// Interval between checks, 5s for example; of a store that is down longer and longer.
	Interval time.Duration
	// StatsInterval is the time between two reads of figures.
	StatsInterval time.Duration
	// RenewInterval is the time after which Secrets are read again.
	RenewInterval time.Duration
	// ReplayMargin before the last sign of life is replayed too.
	ReplayMargin time.Duration
	// Elected is closed when this replica becomes the leader.
	Elected <-chan struct{}
	// Cluster that the operator works for; empty: not known, so that no policy is claimed.
	Cluster string
	// DialCheck is asked before each connection to a server of a CacheStore; nil: any address will do.
	DialCheck registry.DialCheck
	// Events are told where a store went back to an older state.
	Events events.EventRecorder
	// Journal knows which purges took effect.
	Journal *journal

	policies      wakeups
	invalidations wakeups
	stores        wakeups
}

// newMonitor returns the monitor of a store, which has found nothing yet.
func newMonitor(id storeID, c connector, s surroundings) *Monitor {
	s.Log = s.Log.WithValues("store", inLog(id))
	return &Monitor{
		surroundings: s, id: id, connector: c, now: make(chan struct{}, 1), told: map[string]string{}, waiting: map[waiter]struct{}{},
		lists: newModuleLists(),
		// Those that refer to a CacheStore may have been turned away before there was one.
		turned: id != defaultStore,
	}
}

// run watches the store until the context ends, then disconnects.
func (m *Monitor) run(ctx context.Context) {
	defer m.disconnect()
	elected := m.Elected
	if m.leads() {
		elected = nil
	}
	backoff := m.newBackoff()
	for ctx.Err() == nil {
		next := m.Interval
		if err := m.lookContained(ctx); err != nil {
			next = backoff.Step()
		} else {
			backoff = m.newBackoff()
		}
		timer := m.Clock.NewTimer(wait.Jitter(next, waitJitter))
		select {
		case <-ctx.Done():
		case <-timer.C():
		case <-m.now:
		case <-elected:
			elected = nil // there is work for the leader now; later, the timer alone counts
		}
		timer.Stop()
	}
}

func (m *Monitor) newBackoff() wait.Backoff {
	return wait.Backoff{
		Duration: min(time.Second, m.Interval), Factor: 2, Steps: 100, Cap: max(maxCheckInterval, m.Interval),
	}
}

// lookNow makes the monitor look at the store at once, or once more if it is about to.
func (m *Monitor) lookNow() {
	select {
	case m.now <- struct{}{}:
	default:
	}
}

// look takes one look at the store, and acts on what it finds.
func (m *Monitor) look(ctx context.Context) error {
	checkCtx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	found := m.find(checkCtx)
	if ctx.Err() != nil {
		return nil
	}
	if f := faultOf(found.err, m.place); f != nil && !f.ofStore() {
		m.Log.Error(found.err, "The store cannot be looked at, it is tried again")
		return found.err
	}
	before, _ := m.report()
	if before != nil && stackIn(before.err) != "" && found.err == nil && m.leads() {
		m.tend(ctx, found.health) // nothing is said of it before that went well once
	}
	changed, declaredAnew := m.note(found), before == nil || before.generation != found.generation
	if !m.leads() {
		return found.err
	}
	if found.err == nil {
		m.tell(ctx, notFenced, m.fence(ctx, found.health))
	}
	if changed {
		m.wakeAll(ctx)
	}
	m.wakeWaiting(ctx)
	if declaredAnew || changed {
		m.wakeStore(ctx)
	}
	if found.err != nil {
		return found.err
	}
	m.tell(ctx, notMended, m.mend(ctx))
	m.tell(ctx, notCounted, m.count(ctx))
	return nil
}

// What is logged of a store that can be used.
const (
	notFenced  = "What an older state of Redis may have brought back is not all invalidated yet, it is tried again"
	notMended  = "Looking for policies that are missing in Redis failed, it is tried again"
	notCounted = "Reading figures from Redis failed, it is tried again"
)

// tend does all that is done in a store that can be used.
func (m *Monitor) tend(ctx context.Context, health registry.Health) {
	m.tell(ctx, notFenced, m.fence(ctx, health))
	m.tell(ctx, notMended, m.mend(ctx))
	m.tell(ctx, notCounted, m.count(ctx))
}

// tell logs a failure that the next look may mend, and not again while it is the same: an ACL may forbid one namespace for weeks.
func (m *Monitor) tell(ctx context.Context, what string, err error) {
	said := ""
	if err != nil {
		said = err.Error()
	}
	if ctx.Err() != nil || said == m.told[what] {
		return
	}
	m.told[what] = said
	if err != nil {
		m.Log.Error(err, what)
	}
}

// find returns what the store is, once the function library is in it if this replica leads.
func (m *Monitor) find(ctx context.Context) finding {
	generation, err := m.renew(ctx)
	if err != nil {
		return finding{generation: generation, err: err}
	}
	var health registry.Health
	err = m.contained(func() (err error) {
		health, err = m.check(ctx)
		return err
	})
	if stackIn(err) != "" {
		m.disconnect()
	}
	return finding{generation: generation, err: err, health: health}
}

func (m *Monitor) check(ctx context.Context) (registry.Health, error) {
	began := m.Clock.Now()
	health, err := m.link.store.Check(ctx)
	m.took(m.Clock.Since(began))
	if err != nil {
		return health, err
	}
	if m.leads() && health.LibraryVersion < registry.LibraryVersion {
		loaded, err := m.link.store.Install(ctx)
		if err != nil {
			return health, fmt.Errorf("installing the function library: %w", err)
		}
		m.Log.Info("Installed the function library", "at", m.place.address, "servers", loaded, "version", registry.LibraryVersion)
		health.LibraryVersion = registry.LibraryVersion
	}
	return health, m.link.store.Writable(ctx)
}

func (m *Monitor) leads() bool {
	select {
	case <-m.Elected:
		return true
	default:
		return false
	}
}
