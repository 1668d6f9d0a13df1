// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/cachewright/cachewright/cache/internal/heads"
	"github.com/cachewright/cachewright/registry"
)

// nearModule is what the near cache follows of a module: its heads, and how long its policy lets entries be
// kept.
type nearModule struct {
	bounds  NearCache
	tracker *heads.Tracker
	local   atomic.Pointer[map[string]time.Duration] // by operation; never changed, only replaced
}

// module returns a module if it is followed.
func (n *near) module(slot registry.Slot) (*nearModule, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	module, followed := n.modules[slot]
	return module, followed
}

// follow follows a module from now on, if it was not and the client was not closed.
func (n *near) follow(slot registry.Slot) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, followed := n.modules[slot]; followed {
		return
	}
	module := &nearModule{bounds: n.bounds}
	module.local.Store(&map[string]time.Duration{})
	module.tracker = heads.New(n.links, "cw:{"+slot.String()+"}", 3*n.bounds.MaxEntries+nearHeads, func(ctx context.Context) error {
		policy, err := n.policy(ctx, slot)
		if err == nil {
			module.obey(policy)
		}
		return err
	})
	if n.start(module.tracker) {
		n.modules[slot] = module
	}
}

// keeps returns how long an entry of an operation may be kept, 0 if it may not. Ask after the entry's stamp was
// taken: if the policy changes after that, the stamp ends.
func (m *nearModule) keeps(operation string) time.Duration {
	local, set := (*m.local.Load())[operation]
	switch {
	case set:
		return min(local, m.bounds.MaxAge)
	case m.bounds.ByPolicy:
		return 0
	default:
		return m.bounds.MaxAge
	}
}

// obey puts the localTTLs of a policy in force. What is kept of operations whose localTTL changed is read
// from Redis again, so a hit need not look at the policy.
func (m *nearModule) obey(policy registry.Policy) {
	now := make(map[string]time.Duration)
	for _, operation := range policy.Operations {
		if operation.LocalTTL != nil {
			now[operation.Name] = *operation.LocalTTL
		}
	}
	before := *m.local.Swap(&now)
	for operation := range before {
		if !same(before, now, operation) {
			m.tracker.Forget(operation)
		}
	}
	for operation := range now {
		if !same(before, now, operation) {
			m.tracker.Forget(operation)
		}
	}
}

func same(before, now map[string]time.Duration, operation string) bool {
	was, wasSet := before[operation]
	is, isSet := now[operation]
	return wasSet == isSet && was == is
}
