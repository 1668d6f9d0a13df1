// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"sync"

	"github.com/cachewright/cachewright/controllers/stores/calls"
)

// link is a connection to a store. It is closed when it was replaced and its last user left.
type link struct {
	store calls.Store
	close func()
	// origin is that of the declaration it was made for.
	origin string
	// secrets are the versions of the Secrets that it was made from.
	secrets string

	mu      sync.Mutex
	users   int
	retired bool
}

// serves reports whether the link leads to what is declared.
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

// retire closes the link as soon as its last user left.
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
