// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package catalog knows the modules of a namespace.
package catalog

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

// Modules are those of the namespace: those that Redis lists, and those that this process may have
// cached something for. The latter have policies, so there are few.
type Modules struct {
	// Gateway is set before the first call to Redis.
	Gateway *gateway.Gateway

	unlisted atomic.Bool

	mu    sync.Mutex
	names map[string]struct{}
}

// Add remembers a module.
func (m *Modules) Add(module string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.names == nil {
		m.names = make(map[string]struct{})
	}
	m.names[module] = struct{}{}
}

// Unlisted reports whether Redis was out of reach when it was last asked for its list.
func (m *Modules) Unlisted() bool { return m.unlisted.Load() }

// Known returns the modules that this process may have cached something for.
func (m *Modules) Known() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Keys(m.names))
}

// All returns the modules of the namespace, sorted. With an error it returns those that it knows.
func (m *Modules) All(ctx context.Context) ([]string, error) {
	names, err := m.Gateway.Modules(ctx)
	m.unlisted.Store(errors.Is(err, registry.ErrUnreachable))
	names = append(names, m.Known()...)
	slices.Sort(names)
	return slices.Compact(names), err
}
