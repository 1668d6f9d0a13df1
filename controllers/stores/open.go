// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/stores/calls"
)

// wakeAfterProbe has a resource reconciled after the next probe.
func (m *Monitor) wakeAfterProbe(obj client.Object) {
	w := waiter{queue: m.Queues.Policies, name: client.ObjectKeyFromObject(obj)}
	if _, ok := obj.(*v1.CacheInvalidation); ok {
		w.queue = m.Queues.Invalidations
	}
	m.state.wait(w)
}

// markSuspect notes that a reconcile could not use the store, and has it probed now.
func (m *Monitor) markSuspect() {
	if m.state.markSuspect() {
		m.probeNow()
	}
}

// discard gives up a link over which a reconcile panicked. No other gets it before the next probe.
func (m *Monitor) discard(l *link) {
	if m.connection.discard(l) {
		m.probeNow()
	}
}

// Open returns a use of the store.
func (m *Monitor) Open() *Session {
	declared := m.connection.connector.declaration()
	s := &Session{location: m.connection.at(), monitor: m}
	if s.library, s.err = m.state.usable(declared.version); s.err != nil {
		return s
	}
	if s.link = m.connection.use(declared); s.link == nil {
		s.err = status.ErrStorePending
		return s
	}
	s.SessionStore = calls.TimeoutStore{
		Store: s.link.store, Limit: m.callTimeout(), Took: m.latency.add, Clock: m.Clock,
	}
	return s
}

// callTimeout is how long a reconcile waits for one answer of the store.
func (m *Monitor) callTimeout() time.Duration {
	if m.isSlow() {
		return calls.SlowCallTimeout
	}
	return calls.CallTimeout
}

// isSlow reports whether a CacheStore answers slowly, so that what waits for it must not hold up
// others. The operator's own store never counts as slow: it has bounds of its own, and shares no
// worker with the stores that tenants chose.
func (m *Monitor) isSlow() bool { return m.id != resource.DefaultStore && m.latency.isSlow() }

// Ready is a readiness check: it fails while the store cannot be used, and says why.
func (m *Monitor) Ready(*http.Request) error {
	last, at := m.Report()
	if last == nil {
		return fmt.Errorf("%s has not been checked yet", at)
	}
	if last.Err != nil {
		return errors.New(status.Classify(last.Err, at).Message)
	}
	return nil
}

// Report returns the last result, nil before the first probe, and the name of the store in
// messages.
func (m *Monitor) Report() (*ProbeResult, status.Location) {
	last := m.state.result()
	if last != nil {
		last.Totals, last.Unclaimed = m.collector.Totals(), m.unclaimed.Last()
	}
	return last, m.connection.at()
}

// drop deletes the store's series, and keeps a probe that still runs from writing more.
func (m *Monitor) drop() {
	m.series.Drop()
	m.collector.Drop()
	m.unclaimed.Drop()
}
