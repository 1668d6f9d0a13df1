// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// finding is what the last look at a store showed.
type finding struct {
	// generation of the CacheStore that was looked at; none for the default store.
	generation edition
	// err says why it cannot be used; nil: it can. Of the same trouble it stays the first one, so that
	// what is said of it stays the same.
	err error
	// health is what the store was when it last could be used.
	health registry.Health
	// figures of its modules, when last counted; nil: not yet.
	figures *figures
}

// Open returns a use of the store.
func (m *Monitor) Open() *Session {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, declared := &Session{place: m.place, monitor: m}, m.connector.declaration()
	switch {
	case m.found == nil || m.doubted:
		s.err = errStorePending
	case m.found.generation != declared.generation:
		s.err = errStorePending // what was found is of another Redis, perhaps
	case m.found.err != nil:
		s.err = m.found.err
	case !m.link.serves(declared):
		s.err = errStorePending
	default:
		s.Store, s.link = impatientStore{Store: m.link.store, limit: m.callLimit(), took: m.took, clock: m.Clock}, m.link
		s.link.enter()
	}
	return s
}

// trust is how long nobody doubts a store that was just found well. What a look does not find, such as commands that an
// administrator renamed or writes that are refused for want of replicas, would else have it looked at all the time.
const trust = time.Second

// doubt is told that a reconcile could not use the store: no other tries until it was looked at, which
// is done at once. So a store that hangs costs those one callTimeout that were at it already.
func (m *Monitor) doubt() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.found != nil && m.found.err == nil && m.Clock.Since(m.foundAt) >= trust {
		m.doubted = true
		m.lookNow()
	}
}

// await has a resource woken after the next look.
func (m *Monitor) await(obj client.Object) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := waiter{queue: m.policies, name: client.ObjectKeyFromObject(obj)}
	if _, ok := obj.(*v1.CacheInvalidation); ok {
		w.queue = m.invalidations
	}
	m.waiting[w] = struct{}{}
}

// waiter is a resource that was turned away, and what wakes it.
type waiter struct {
	queue wakeups
	name  types.NamespacedName
}

// wakeWaiting wakes those who waited for a look.
func (m *Monitor) wakeWaiting(ctx context.Context) {
	m.mu.Lock()
	waiting := m.waiting
	m.waiting = map[waiter]struct{}{}
	m.mu.Unlock()
	for w := range waiting {
		w.queue.wake(ctx, w.name)
	}
}

// Ready is a readiness check: it fails while the store cannot be used, and says why.
func (m *Monitor) Ready(*http.Request) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.found == nil {
		return fmt.Errorf("%s has not been checked yet", m.place)
	}
	if m.found.err != nil {
		return errors.New(faultOf(m.found.err, m.place).message)
	}
	return nil
}

// report returns what was last found, nil before anything was, and where.
func (m *Monitor) report() (*finding, place) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.found == nil {
		return nil, m.place
	}
	found := *m.found
	found.figures = m.figures
	return &found, m.place
}

// note remembers a finding and says whether it concerns every resource: the store went, came back,
// is refused for another reason, or was restarted or replaced.
func (m *Monitor) note(found finding) (changed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.doubted, m.foundAt = false, m.Clock.Now()
	first, before := m.found == nil, finding{}
	if !first {
		before = *m.found
	}
	m.found = &found
	m.publish(func() { m.Metrics.storeFound(m.id, found.err == nil) })
	was, is := faultOf(before.err, m.place), faultOf(found.err, m.place)
	if first {
		// All are looked at anyway when the operator starts.
		defer func() { changed = m.turned; m.turned = false }()
	}
	if is != nil {
		found.health = before.health
		if was != nil && was.reason == is.reason && before.generation == found.generation {
			found.err = before.err
			return false
		}
		m.Log.Error(found.err, "Redis cannot be used", "at", m.place.address, "reason", is.reason)
		tellPanic(m.Log, found.err)
		return true
	}
	m.tellRisks(before.health.Warnings(), found.health.Warnings())
	changed = was != nil || !slices.Equal(m.runIDs, found.health.RunIDs)
	if changed {
		m.Log.Info("Redis can be used", "at", m.place.address, "version", found.health.Version, "runIDs", found.health.RunIDs)
	}
	m.runIDs = found.health.RunIDs
	return changed
}
