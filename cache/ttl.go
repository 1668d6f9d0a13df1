// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"sync"
	"time"

	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/registry"
)

const (
	// policyMaxAge is how long a policy is used after it was read.
	policyMaxAge = time.Second
	// maxPolicies bounds the memory of a process that asks for many.
	maxPolicies = 256
)

// policies reads policies, and remembers them, so that a loop over TTL does not ask Redis each
// time.
type policies struct {
	gateway  *gateway.Gateway
	failures *failures

	mu       sync.Mutex
	byModule map[string]knownPolicy
}

type knownPolicy struct {
	policy registry.Policy
	until  time.Time
}

// ttl returns the TTL of an operation.
func (p *policies) ttl(ctx context.Context, module, operation string) (time.Duration, error) {
	if policy, ok := p.known(module, time.Now()); ok {
		return policy.TTL(operation), nil
	}
	policy, err := p.gateway.Policy(ctx, module)
	if err != nil {
		p.failures.add(module, operation, err)
		return 0, err
	}
	p.remember(module, policy, time.Now())
	return policy.TTL(operation), nil
}

// read reads a policy for the near cache.
func (p *policies) read(ctx context.Context, slot registry.Slot) (registry.Policy, error) {
	policy, err := p.gateway.PolicyUnguarded(ctx, slot)
	if err == nil {
		p.remember(slot.Module, policy, time.Now())
	}
	return policy, err
}

func (p *policies) known(module string, now time.Time) (registry.Policy, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	found, ok := p.byModule[module]
	return found.policy, ok && now.Before(found.until)
}

func (p *policies) remember(module string, policy registry.Policy, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byModule == nil || len(p.byModule) >= maxPolicies {
		p.byModule = make(map[string]knownPolicy)
	}
	p.byModule[module] = knownPolicy{policy: policy, until: now.Add(policyMaxAge)}
}
