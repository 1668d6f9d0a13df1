// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"sync"
	"time"
)

const (
	// slowAnswer is from which time on, on average, a store answers slowly: a distant one takes a tenth of it.
	slowAnswer = 250 * time.Millisecond
	// paceWeight is how many of the last answers make up most of the average.
	paceWeight = 4
)

// pace is how long a store takes to answer, on average of late.
type pace struct {
	mu      sync.Mutex
	average time.Duration
}

func (p *pace) note(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.average += (took - p.average) / paceWeight
}

func (p *pace) isSlow() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.average >= slowAnswer
}

// took takes note of how long the store took to answer.
func (m *Monitor) took(took time.Duration) { m.pace.note(took) }

// callLimit is how long a reconcile waits for one answer of the store.
func (m *Monitor) callLimit() time.Duration {
	if m.id != defaultStore && m.pace.isSlow() {
		return slowCallTimeout
	}
	return callTimeout
}

// isSlow says that a store answers slowly, so that what waits for it is kept from holding up others. The operator's own is
// never said to: it is bounded anyway, and shares no place with those that tenants chose.
func (s *Stores) isSlow(id storeID) bool {
	if id == defaultStore {
		return false
	}
	w := s.watched(id)
	return w != nil && w.monitor.pace.isSlow()
}
