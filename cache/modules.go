// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// moduleSet is the modules that this process may have cached something of. They have policies, so there are few.
type moduleSet struct {
	// unreachable says that the list of the others could not be had from Redis, when it was asked for last.
	unreachable atomic.Bool

	mu    sync.Mutex
	names map[string]struct{}
}

func (s *moduleSet) add(module string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names == nil {
		s.names = make(map[string]struct{})
	}
	s.names[module] = struct{}{}
}

func (s *moduleSet) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.names))
}

// allModules returns the modules of the namespace, sorted. With an error it returns those that this
// process knows of.
func (c *Client) allModules(ctx context.Context) ([]string, error) {
	modules, err := c.store.Modules(ctx, c.namespace)
	modules = append(modules, c.modules.list()...)
	slices.Sort(modules)
	return slices.Compact(modules), err
}

// Empty names are refused here: to the registry an empty scope is the whole module.
var (
	errNoModule    = errors.New("cache: the module is empty; name one")
	errNoOperation = errors.New("cache: the operation is empty; name one, or invalidate the module")
	errNoUser      = errors.New("cache: the user is empty; name one, or invalidate the module")
)
