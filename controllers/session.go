// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// Why there is no store to work on, beside what package registry says.
var (
	// errStorePending: nobody has looked at the store yet, or there is doubt about it and it is being
	// looked at. Nothing is to be said of the resource until then.
	errStorePending = errors.New("the store has not been looked at yet")
	// errStoreNotFound: there is no such CacheStore.
	errStoreNotFound = errors.New("no such CacheStore")
	// errStoreRequired: a resource names no store, and the operator has none of its own.
	errStoreRequired = errors.New("the operator has no store of its own")
	// errStoreSecret: a Secret that the CacheStore names is missing or cannot be used.
	errStoreSecret = errors.New("a Secret cannot be used")
)

// StoreProvider gives reconcilers the stores that resources refer to.
type StoreProvider interface {
	// Open returns the use of a store, which the caller has to close. It never waits for the store: one
	// that is down, or not known to be up, fails in Session.Err.
	Open(ctx context.Context, id storeID) *Session
}

// Session is the use of a store by one reconcile. While it is open, its connection stays open.
type Session struct {
	// Store to work on; nil while Err returns an error.
	Store

	place   place
	err     error
	monitor *Monitor // nil: there is no such store
	link    *link    // nil while there is an error
}

// Err says why the store cannot be used; nil: nothing is known against it.
func (s *Session) Err() error { return s.err }

// Close ends the use. The fault that the reconcile met, if it met one, tells the monitor that the
// store is to be looked at now.
func (s *Session) Close(met *fault) {
	if s.link == nil {
		return
	}
	s.link.leave()
	if met != nil && met.reason == v1.ReasonStoreMisbehaves && stackIn(met.err) != "" {
		s.monitor.distrust(s.link)
	}
	if met != nil && met.ofWholeStore {
		s.monitor.doubt()
	}
}

// await has a resource woken as soon as the store was looked at, if its reconcile was turned away until then.
func (s *Session) await(obj client.Object, met *fault) {
	if s.monitor != nil && met != nil && met.class == classPending {
		s.monitor.await(obj)
	}
}

// link is a connection to a store that is closed when it was replaced and nobody uses it any more.
type link struct {
	store Store
	close func()
	// origin is that of the declaration it was made for, and secrets are the versions of those that it was made from.
	origin, secrets string

	mu      sync.Mutex
	users   int
	retired bool
}

// serves says whether the connection is one to what is declared.
func (l *link) serves(declared declaration) bool { return l != nil && l.origin == declared.origin }

func (l *link) enter() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.users++
}

func (l *link) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.users--
	l.closeIfUnused()
}

// retire closes the link as soon as the last user left.
func (l *link) retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retired = true
	l.closeIfUnused()
}

func (l *link) closeIfUnused() {
	if l.retired && l.users == 0 {
		l.close()
	}
}
