// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/cachewright/cachewright/registry"
)

// moduleLists remembers the modules that a store listed since the operator started. Redis may evict a list, which is then
// written anew from the CachePolicies: without those modules whose policy was retained, or never was in Kubernetes.
type moduleLists struct {
	mu    sync.Mutex
	known map[string]map[string]bool // by namespace
}

func newModuleLists() *moduleLists { return &moduleLists{known: map[string]map[string]bool{}} }

func (l *moduleLists) remember(namespace string, modules ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known[namespace] == nil {
		l.known[namespace] = map[string]bool{}
	}
	for _, module := range modules {
		l.known[namespace][module] = true
	}
}

func (l *moduleLists) forget(slot registry.Slot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.known[slot.Namespace], slot.Module)
}

// of returns what is remembered of a namespace, sorted.
func (l *moduleLists) of(namespace string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.known[namespace]))
}

// rememberingStore is a store whose modules are those that it lists and those that it listed. They are all known, also where it
// fails with ErrModulesUnknown, but for those that it listed only while the operator was away.
type rememberingStore struct {
	Store

	lists *moduleLists
}

// Modules implements Store.
func (s rememberingStore) Modules(ctx context.Context, namespace string) ([]string, error) {
	listed, err := s.Store.Modules(ctx, namespace)
	if err != nil && !errors.Is(err, registry.ErrModulesUnknown) {
		return nil, err
	}
	s.lists.remember(namespace, listed...)
	return s.lists.of(namespace), err
}

// AddAllModules implements Store.
func (s rememberingStore) AddAllModules(ctx context.Context, modules map[string][]string) error {
	for namespace, named := range modules {
		s.lists.remember(namespace, named...)
	}
	return s.Store.AddAllModules(ctx, modules)
}

// JoinModules implements Store.
func (s rememberingStore) JoinModules(ctx context.Context, slot registry.Slot) (bool, error) {
	s.lists.remember(slot.Namespace, slot.Module)
	return s.Store.JoinModules(ctx, slot)
}

// DeletePolicyFor implements Store.
func (s rememberingStore) DeletePolicyFor(ctx context.Context, claim registry.Claim) (bool, error) {
	deleted, err := s.Store.DeletePolicyFor(ctx, claim)
	if err == nil {
		s.lists.forget(claim.Slot)
	}
	return deleted, err
}
