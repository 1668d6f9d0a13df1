// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package calls

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/cachewright/cachewright/registry"
)

// ModuleCache remembers the modules that a store listed since the operator started. Redis may evict
// a list. It is then written again from the CachePolicies, without the modules whose policy was
// retained, or never was in Kubernetes.
type ModuleCache struct {
	mu    sync.Mutex
	known map[string]map[string]bool // by namespace
}

// NewModuleCache returns a cache without modules.
func NewModuleCache() *ModuleCache { return &ModuleCache{known: map[string]map[string]bool{}} }

func (c *ModuleCache) remember(namespace string, modules ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known[namespace] == nil {
		c.known[namespace] = map[string]bool{}
	}
	for _, module := range modules {
		c.known[namespace][module] = true
	}
}

func (c *ModuleCache) forget(slot registry.Slot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known[slot.Namespace], slot.Module)
}

// of returns what is remembered of a namespace, sorted.
func (c *ModuleCache) of(namespace string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.known[namespace]))
}

// NewCachingStore returns a store that remembers module lists in a cache.
func NewCachingStore(store Store, cache *ModuleCache) Store { return cachingStore{store, cache} }

// cachingStore is a store whose modules are those that it lists and those that it listed. They are
// all known, also where it fails with ErrModulesUnknown, without those that it listed only while
// the operator was away.
type cachingStore struct {
	Store

	cache *ModuleCache
}

// Modules implements Store.
func (s cachingStore) Modules(ctx context.Context, namespace string) ([]string, error) {
	listed, err := s.Store.Modules(ctx, namespace)
	if err != nil && !errors.Is(err, registry.ErrModulesUnknown) {
		return nil, err
	}
	s.cache.remember(namespace, listed...)
	return s.cache.of(namespace), err
}

// AddAllModules implements Store.
func (s cachingStore) AddAllModules(ctx context.Context, modules map[string][]string) error {
	for namespace, named := range modules {
		s.cache.remember(namespace, named...)
	}
	return s.Store.AddAllModules(ctx, modules)
}

// EnsureListed implements Store.
func (s cachingStore) EnsureListed(
	ctx context.Context, slot registry.Slot, all func() ([]string, error),
) error {
	s.cache.remember(slot.Namespace, slot.Module)
	return s.Store.EnsureListed(ctx, slot, all)
}

// DeletePolicyFor implements Store.
func (s cachingStore) DeletePolicyFor(ctx context.Context, claim registry.Claim) (bool, error) {
	deleted, err := s.Store.DeletePolicyFor(ctx, claim)
	if err == nil {
		s.cache.forget(claim.Slot)
	}
	return deleted, err
}
