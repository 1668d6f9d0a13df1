// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"sync"
	"time"

	"github.com/cachewright/cachewright/registry"
)

const (
	// policyMemoTime is how long a policy that was read is believed.
	policyMemoTime = time.Second
	// policyMemoModules bounds the memory of a process that asks for many.
	policyMemoModules = 256
)

// TTL implements Cache. It may be a second behind the policy. Jitter is not taken off.
func (c *Client) TTL(ctx context.Context, module, operation string) (time.Duration, error) {
	if policy, ok := c.policies.get(module, time.Now()); ok {
		return policy.TTL(operation), nil
	}
	var policy registry.Policy
	err := c.ask(ctx, reading, module, func(ctx context.Context) (err error) {
		policy, err = c.currentPolicy(ctx, c.slot(module))
		return err
	})
	if err != nil {
		c.failed(module, operation, err)
		return 0, err
	}
	return policy.TTL(operation), nil
}

// currentPolicy reads a policy, the zero one where there is none.
func (c *Client) currentPolicy(ctx context.Context, slot registry.Slot) (registry.Policy, error) {
	policy, _, err := c.store.Policy(ctx, slot)
	if err == nil {
		c.policies.put(slot.Module, policy, time.Now())
	}
	return policy, err
}

// policyMemo keeps a loop over TTL from asking Redis each time.
type policyMemo struct {
	mu       sync.Mutex
	byModule map[string]memorized
}

type memorized struct {
	policy registry.Policy
	until  time.Time
}

func (m *policyMemo) get(module string, now time.Time) (registry.Policy, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, ok := m.byModule[module]
	return found.policy, ok && now.Before(found.until)
}

func (m *policyMemo) put(module string, policy registry.Policy, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byModule == nil || len(m.byModule) >= policyMemoModules {
		m.byModule = make(map[string]memorized)
	}
	m.byModule[module] = memorized{policy: policy, until: now.Add(policyMemoTime)}
}
