// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/cachewright/cachewright/controllers/internal/drift"
	"github.com/cachewright/cachewright/controllers/internal/metrics"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/recovery"
	"github.com/cachewright/cachewright/controllers/stores/calls"
)

const (
	// maxCheckInterval bounds the backoff of probes of a store that is down.
	maxCheckInterval = 30 * time.Second
	// probeTimeout bounds one probe of the store.
	probeTimeout = 10 * time.Second
)

// Monitor does for all resources of a store what has to be done once for the store. It probes the
// store at intervals that grow while it is down. Where this replica leads and the store can be
// used, each probe is followed by three steps: fencing, comparing policies, and reading statistics.
type Monitor struct {
	Deps

	id         resource.StoreID
	connection *connection
	state      *state
	latency    latency
	series     *metrics.StoreSeries

	prober    prober
	fencer    *recovery.Fencer
	syncer    *drift.Syncer
	collector *stats.Collector
	unclaimed *stats.UnclaimedCollector
	waker     waker

	wakeup chan struct{} // asks for a probe now
	// lastLogged is the error that each step met when it last ran.
	lastLogged map[string]string
}

// newMonitor returns the monitor of a store, which was not probed yet.
func newMonitor(id resource.StoreID, c connector, deps Deps) *Monitor {
	deps.Log = deps.Log.WithValues("store", locate(id))
	refer := resource.Referrers{Reader: deps.Reader, Store: id}
	m := &Monitor{
		Deps: deps, id: id, series: deps.Metrics.ForStore(id),
		wakeup: make(chan struct{}, 1), lastLogged: map[string]string{},
		// Those that refer to a CacheStore may have been turned away before there was one.
		state: &state{
			clock: deps.Clock, wakeOnFirstProbe: id != resource.DefaultStore, waiting: map[waiter]struct{}{},
		},
		waker: waker{Referrers: refer, Set: deps.Queues, Log: deps.Log},
		fencer: &recovery.Fencer{FencerConfig: recovery.FencerConfig{
			Referrers: refer, Journal: deps.Journal, Events: deps.Events, Clock: deps.Clock, Log: deps.Log,
			LostMarks: deps.LostMarks, ReplayMargin: deps.ReplayMargin,
		}},
		syncer: &drift.Syncer{SyncerConfig: drift.SyncerConfig{
			Referrers: refer, Policies: deps.Queues.Policies, Cluster: deps.Cluster, Log: deps.Log,
		}},
		collector: &stats.Collector{CollectorConfig: stats.CollectorConfig{
			Referrers: refer, Snapshot: deps.Snapshot, Policies: deps.Queues.Policies, Clock: deps.Clock,
			Interval: deps.StatsInterval,
		}},
		unclaimed: &stats.UnclaimedCollector{UnclaimedConfig: stats.UnclaimedConfig{
			Referrers: refer, Snapshot: deps.Snapshot, Clock: deps.Clock, Interval: deps.StatsInterval,
		}},
	}
	m.fencer.Metrics = m.series
	m.connection = &connection{
		connector: c, clock: deps.Clock, log: deps.Log, renewInterval: deps.RenewInterval,
		lost: m.forgetStatistics, location: c.declaration().location, modules: calls.NewModuleCache(),
	}
	m.prober = prober{
		connection: m.connection, latency: &m.latency, leads: m.leads, clock: deps.Clock, log: deps.Log,
	}
	return m
}

// forgetStatistics forgets what was read from a Redis that the store may not name any more.
func (m *Monitor) forgetStatistics() {
	m.collector.Reset()
	m.unclaimed.Reset()
}

// run probes the store until the context ends, then disconnects.
func (m *Monitor) run(ctx context.Context) {
	defer m.connection.disconnect()
	elected := m.Elected
	if m.leads() {
		elected = nil
	}
	backoff := m.newBackoff()
	for ctx.Err() == nil {
		next := m.Interval
		if err := m.Probe(ctx); err != nil {
			next = backoff.Step()
		} else {
			backoff = m.newBackoff()
		}
		timer := m.Clock.NewTimer(wait.Jitter(next, status.WaitJitter))
		select {
		case <-ctx.Done():
		case <-timer.C():
		case <-m.wakeup:
		case <-elected:
			elected = nil // there is work for the leader now; later, the timer alone counts
		}
		timer.Stop()
	}
}

func (m *Monitor) newBackoff() wait.Backoff {
	return wait.Backoff{
		Duration: min(time.Second, m.Interval), Factor: 2, Steps: 100,
		Cap: max(maxCheckInterval, m.Interval),
	}
}

func (m *Monitor) leads() bool {
	select {
	case <-m.Elected:
		return true
	default:
		return false
	}
}

// probeNow makes the monitor probe the store immediately, or once more if it is about to.
func (m *Monitor) probeNow() {
	select {
	case m.wakeup <- struct{}{}:
	default:
	}
}

// Probe probes the store once, and acts on the result. A panic is an error of the store: monitors
// share the process with those of all tenants.
func (m *Monitor) Probe(ctx context.Context) error {
	err := contained(func() error { return m.probe(ctx) })
	if status.StackOf(err) == "" {
		return err
	}
	// What follows may panic over the same result, so it is contained, too.
	again := contained(func() error {
		m.recordPanic(ctx, err)
		return nil
	})
	status.LogPanic(m.Log, again)
	return err
}

func (m *Monitor) probe(ctx context.Context) error {
	probeCtx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	result, l := m.prober.probe(probeCtx, m.state.isSettled)
	if l != nil {
		defer l.leave()
	}
	if ctx.Err() != nil {
		return nil
	}
	if f := status.Classify(result.Err, m.connection.at()); f != nil && !f.IsOfStore() {
		m.Log.Error(result.Err, "Cannot probe the store, retrying")
		return result.Err
	}
	before := m.state.result()
	if before != nil && status.StackOf(before.Err) != "" && result.Err == nil && m.leads() {
		m.runSteps(ctx, l.store, result.Health) // it counts as usable only once these went well
	}
	concernsAll := m.record(result)
	if !m.leads() {
		return result.Err
	}
	if result.Err == nil {
		m.runFencer(ctx, l.store, result.Health)
	}
	redeclared := before == nil || before.Version != result.Version
	m.wake(ctx, concernsAll, concernsAll || redeclared)
	if result.Err != nil {
		return result.Err
	}
	m.runOthers(ctx, l.store, result.Health)
	return nil
}

// locate names a store in the log.
func locate(id resource.StoreID) string {
	if id == resource.DefaultStore {
		return "the operator's own"
	}
	return id.String()
}
