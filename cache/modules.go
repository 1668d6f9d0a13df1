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

	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/registry"
)

// modules knows the modules of the namespace: those that Redis lists, and those that this process
// may have cached something for. The latter have policies, so there are few.
type modules struct {
	gateway *gateway.Gateway

	// unlisted is true if Redis was out of reach when it was last asked for its list.
	unlisted atomic.Bool

	mu    sync.Mutex
	names map[string]struct{}
}

func (m *modules) add(module string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.names == nil {
		m.names = make(map[string]struct{})
	}
	m.names[module] = struct{}{}
}

// known returns the modules that this process may have cached something for.
func (m *modules) known() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Keys(m.names))
}

// all returns the modules of the namespace, sorted. With an error it returns those that it knows.
func (m *modules) all(ctx context.Context) ([]string, error) {
	names, err := m.gateway.Modules(ctx)
	m.unlisted.Store(errors.Is(err, registry.ErrUnreachable))
	names = append(names, m.known()...)
	slices.Sort(names)
	return slices.Compact(names), err
}
