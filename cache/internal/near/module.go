// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package near

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/cachewright/cachewright/cache/internal/heads"
	"github.com/cachewright/cachewright/registry"
)

// spareHeads are followed for each module in addition to those of the entries.
const spareHeads = 1000

// module is what the Cache follows of a module: its heads, and how long its policy lets entries be
// kept.
type module struct {
	maxAge   time.Duration
	byPolicy bool
	tracker  *heads.Tracker
	localTTL atomic.Pointer[map[string]time.Duration] // by operation; replaced, never changed
}

// module returns a module if it is followed.
func (c *Cache) module(slot registry.Slot) (*module, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	found, followed := c.modules[slot]
	return found, followed
}

// follow starts to follow a module, unless it is followed already or the client is closed.
func (c *Cache) follow(slot registry.Slot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, followed := c.modules[slot]; followed {
		return
	}
	bounds := c.config.Bounds
	m := &module{maxAge: bounds.MaxAge, byPolicy: bounds.ByPolicy}
	m.localTTL.Store(&map[string]time.Duration{})
	readPolicy := func(ctx context.Context) error {
		policy, err := c.config.Policy(ctx, slot)
		if err == nil {
			m.obey(policy)
		}
		return err
	}
	m.tracker = heads.New(c.links, "cw:{"+slot.String()+"}", 3*bounds.MaxEntries+spareHeads,
		readPolicy)
	m.tracker.Used = func(operation string) int64 {
		return c.config.Hits(slot.Module, operation).Load()
	}
	if c.run(m.tracker) {
		c.modules[slot] = m
	}
}

// keeps returns how long an entry of an operation may be kept, 0 if it must not be. Call it after
// the entry's stamp was taken: a policy that changes later ends the stamp.
func (m *module) keeps(operation string) time.Duration {
	local, set := (*m.localTTL.Load())[operation]
	switch {
	case set:
		return min(local, m.maxAge)
	case m.byPolicy:
		return 0
	default:
		return m.maxAge
	}
}

// obey puts the localTTLs of a policy in force. Entries of operations whose localTTL changed are
// read from Redis again, so that a hit need not look at the policy.
func (m *module) obey(policy registry.Policy) {
	now := make(map[string]time.Duration)
	for _, operation := range policy.Operations {
		if operation.LocalTTL != nil {
			now[operation.Name] = *operation.LocalTTL
		}
	}
	before := *m.localTTL.Swap(&now)
	for operation := range before {
		if differs(before, now, operation) {
			m.tracker.Forget(operation)
		}
	}
	for operation := range now {
		if differs(before, now, operation) {
			m.tracker.Forget(operation)
		}
	}
}

func differs(before, now map[string]time.Duration, operation string) bool {
	was, wasSet := before[operation]
	is, isSet := now[operation]
	return wasSet != isSet || was != is
}
