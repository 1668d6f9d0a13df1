// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"maps"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/registry"
)

// Snapshot holds the statistics of all modules as they were last read. Monitors and the reconciler
// of policies write it; that reconciler and the Prometheus collector read it.
type Snapshot struct {
	mu      sync.Mutex
	modules map[Module]moduleStats
	// unclaimed is how many names that no policy lists a namespace has, if it has any.
	unclaimed map[Namespace]int
}

// Module names a module: stores may have modules of the same name.
type Module struct {
	Store resource.StoreID
	Slot  registry.Slot
}

type moduleStats struct {
	policy types.NamespacedName
	stats  registry.Stats
}

// NewSnapshot returns a snapshot without statistics.
func NewSnapshot() *Snapshot {
	return &Snapshot{modules: map[Module]moduleStats{}, unclaimed: map[Namespace]int{}}
}

// Put replaces the statistics of the module that a policy governs.
func (s *Snapshot) Put(policy *v1.CachePolicy, stats registry.Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(resource.StoreOf(policy), policy, stats)
}

func (s *Snapshot) put(store resource.StoreID, policy *v1.CachePolicy, stats registry.Stats) {
	s.modules[Module{store, convert.Slot(policy)}] = moduleStats{
		client.ObjectKeyFromObject(policy), stats,
	}
}

// Replace replaces the statistics of a store's modules by those of the policies that govern them.
func (s *Snapshot) Replace(
	store resource.StoreID, policies []*v1.CachePolicy, stats []registry.Stats,
) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.modules, func(module Module, _ moduleStats) bool {
		return module.Store == store
	})
	for i, policy := range policies {
		s.put(store, policy, stats[i])
	}
}

// Of returns the statistics of the module that a policy governs; nil: there are none.
func (s *Snapshot) Of(policy *v1.CachePolicy) *registry.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	module, known := s.modules[Module{resource.StoreOf(policy), convert.Slot(policy)}]
	if !known || module.policy != client.ObjectKeyFromObject(policy) {
		return nil
	}
	return &module.stats
}

// Forget drops the statistics of a policy that governs no module any more.
func (s *Snapshot) Forget(policy types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.modules, func(_ Module, module moduleStats) bool {
		return module.policy == policy
	})
}

// Len returns the number of modules with statistics.
func (s *Snapshot) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.modules)
}

// Each calls visit for each module with statistics. It holds the snapshot meanwhile.
func (s *Snapshot) Each(visit func(Module, registry.Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, module := range s.modules {
		visit(id, module.stats)
	}
}
