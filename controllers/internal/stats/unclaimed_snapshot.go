// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"maps"

	"github.com/cachewright/cachewright/controllers/internal/resource"
)

// Namespace of a store.
type Namespace struct {
	Store resource.StoreID
	Name  string
}

// ReplaceUnclaimed replaces how many names that no policy lists each namespace of a store has.
func (s *Snapshot) ReplaceUnclaimed(store resource.StoreID, counts map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.unclaimed, func(namespace Namespace, _ int) bool {
		return namespace.Store == store
	})
	for name, count := range counts {
		if count > 0 {
			s.unclaimed[Namespace{store, name}] = count
		}
	}
}

// EachUnclaimed visits the namespaces that have names which no policy lists, with their number.
func (s *Snapshot) EachUnclaimed(visit func(Namespace, int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for namespace, count := range s.unclaimed {
		visit(namespace, count)
	}
}
