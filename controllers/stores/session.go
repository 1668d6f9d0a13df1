// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/stores/calls"
	"github.com/cachewright/cachewright/registry"
)

// Provider gives reconcilers the stores that resources refer to.
type Provider interface {
	// Open returns the use of a store, which the caller has to close. It never waits for the store.
	// One that is down, or not known to be up, fails in Session.Err.
	Open(ctx context.Context, id resource.StoreID) *Session
}

// Session is the use of a store by one reconcile. While it is open, its connection stays open.
type Session struct {
	// calls.SessionStore is the store to work on; nil while Err returns an error.
	calls.SessionStore

	location status.Location
	err      error
	library  int      // version of the function library; 0 while there is an error
	monitor  *Monitor // nil: there is no such store
	link     *link    // nil while there is an error
}

// NewSession returns the use of a store that no monitor watches, or why it cannot be used.
func NewSession(store calls.SessionStore, at status.Location, err error) *Session {
	if err != nil {
		return &Session{location: at, err: err}
	}
	return &Session{SessionStore: store, location: at, library: registry.LibraryVersion}
}

// Under returns the same use under another version of the function library.
func (s *Session) Under(library int) *Session {
	under := *s
	under.library = library
	return &under
}

// Err says why the store cannot be used; nil: it can, as far as is known.
func (s *Session) Err() error { return s.err }

// KnowsHolds reports whether the store knows holds and source lag.
func (s *Session) KnowsHolds() bool { return s.library >= registry.HoldsLibrary }

// CanHold says why the store knows neither holds nor source lag; nil: it does.
func (s *Session) CanHold() error {
	if s.KnowsHolds() {
		return nil
	}
	return fmt.Errorf("%w: it has version %d, and holds need %d", status.ErrLibraryTooOld, s.library,
		registry.HoldsLibrary)
}

// Location names the store in messages.
func (s *Session) Location() status.Location { return s.location }

// End ends the use by a reconcile of obj that met err; nil: it met none. It returns what to do
// about that error.
func (s *Session) End(ctx context.Context, obj client.Object, err error) *status.ClassifiedError {
	status.LogPanic(log.FromContext(ctx), err)
	met := status.Classify(err, s.location)
	s.Close(met)
	s.wakeAfterProbe(obj, met)
	return met
}

// Close ends the use. An error that all users of the store may meet makes the monitor probe it now.
func (s *Session) Close(met *status.ClassifiedError) {
	if s.link == nil {
		return
	}
	s.link.leave()
	if met != nil && met.Reason == v1.ReasonStoreMisbehaves && status.StackOf(met.Err) != "" {
		s.monitor.discard(s.link)
	}
	if met != nil && met.OfWholeStore {
		s.monitor.markSuspect()
	}
}

// wakeAfterProbe has a resource reconciled after the next probe of the store, if its reconcile was
// turned away until then.
func (s *Session) wakeAfterProbe(obj client.Object, met *status.ClassifiedError) {
	if s.monitor != nil && met != nil && met.Class == status.ClassPending {
		s.monitor.wakeAfterProbe(obj)
	}
}
