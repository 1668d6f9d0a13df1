// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/cachewright/cachewright/controllers/internal/queue"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/registry"
)

// recheckAfter is the minimum age of a successful probe before an error may trigger another. A
// probe does not find everything: an administrator may have renamed commands, or writes may be
// refused for want of replicas. Without this bound, such a store would be probed all the time.
const recheckAfter = time.Second

// state is what is known of a store. It is safe for concurrent use.
type state struct {
	clock clock.PassiveClock

	mu       sync.Mutex
	last     *ProbeResult // nil: not probed yet
	probedAt time.Time
	runIDs   []string // as last found
	suspect  bool     // a reconcile met an error since the last probe
	// wakeOnFirstProbe: resources may have been turned away before there was a monitor.
	wakeOnFirstProbe bool
	waiting          map[waiter]struct{}
}

// waiter is a resource that was turned away, and the queue that wakes it.
type waiter struct {
	queue queue.Enqueuer
	name  types.NamespacedName
}

// transition is how a probe changed what is known of a store.
type transition struct {
	before ProbeResult
	after  ProbeResult
	// lost: the store cannot be used, for another reason than before; nil: that is not so.
	lost *status.ClassifiedError
	// restored: the store can be used again, or another server answers.
	restored bool
	// concernsAll: every resource of the store has to be reconciled.
	concernsAll bool
}

// record replaces the last result. Of the same trouble the first words stay, so that statuses stay.
func (s *state) record(result ProbeResult, at status.Location) transition {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := transition{after: result}
	first := s.last == nil
	if !first {
		t.before = *s.last
	}
	was, is := status.Classify(t.before.Err, at), status.Classify(result.Err, at)
	switch {
	case is == nil:
		t.restored = was != nil || !slices.Equal(s.runIDs, result.Health.RunIDs)
		// What policies may say depends on the library.
		t.concernsAll = t.restored || t.before.Health.LibraryVersion != result.Health.LibraryVersion
		s.runIDs = result.Health.RunIDs
	case was != nil && was.Reason == is.Reason && t.before.Version == result.Version:
		t.after.Health, t.after.Err = t.before.Health, t.before.Err
	default:
		t.after.Health, t.lost, t.concernsAll = t.before.Health, is, true
	}
	if first {
		// All are reconciled anyway when the operator starts.
		t.concernsAll, s.wakeOnFirstProbe = s.wakeOnFirstProbe, false
	}
	s.last, s.suspect, s.probedAt = &t.after, false, s.clock.Now()
	return t
}

// result returns the last result; nil: the store was not probed yet.
func (s *state) result() *ProbeResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		return nil
	}
	last := *s.last
	return &last
}

// usable says why reconciles cannot use a store that is declared as a version; nil: they can. It
// also returns the version of the store's function library. The probes of a replica that does not
// lead load none. Once it leads, none of its reconciles may call an older one, unless its own probe
// found that the store keeps that one.
func (s *state) usable(declared Version) (library int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.found(declared); err != nil {
		return 0, err
	}
	library = s.last.Health.LibraryVersion
	if library < registry.LibraryVersion && !s.last.KeepsLibrary {
		return 0, status.ErrStorePending
	}
	return library, nil
}

// found returns what the last probe met in a store that is declared as a version.
func (s *state) found(declared Version) error {
	switch {
	case s.last == nil || s.suspect:
		return status.ErrStorePending
	case s.last.Version != declared:
		return status.ErrStorePending // what was found may be of another Redis
	default:
		return s.last.Err
	}
}

// isSettled reports whether the last probe found a store of that version usable, and no reconcile
// met an error since.
func (s *state) isSettled(declared Version) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.found(declared) == nil
}

// markSuspect notes that a reconcile could not use the store, and reports whether it has to be
// probed now. No other reconcile tries the store until then. So a store that hangs costs those one
// call timeout that use it already.
func (s *state) markSuspect() (probe bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil || s.last.Err != nil || s.clock.Since(s.probedAt) < recheckAfter {
		return false
	}
	s.suspect = true
	return true
}

// wait has a resource woken after the next probe.
func (s *state) wait(w waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting[w] = struct{}{}
}

// takeWaiting returns the resources that wait for a probe, and forgets them.
func (s *state) takeWaiting() map[waiter]struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := s.waiting
	s.waiting = map[waiter]struct{}{}
	return waiting
}
