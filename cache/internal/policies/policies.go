// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package policies reads policies, and remembers them for a moment.
package policies

import (
	"context"
	"sync"
	"time"

	"github.com/cachewright/cachewright/cache/internal/failure"
	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/registry"
)

const (
	// policyMaxAge is how long a policy is used after it was read.
	policyMaxAge = time.Second
	// maxPolicies bounds the memory of a process that asks for many.
	maxPolicies = 256
)

// Policies are those of the namespace. They are remembered, so that a loop over TTL does not ask
// Redis each time.
type Policies struct {
	gateway  *gateway.Gateway
	failures *failure.Reports

	mu       sync.Mutex
	byModule map[string]knownPolicy
}

// New returns Policies that were not read yet.
func New(g *gateway.Gateway, failures *failure.Reports) *Policies {
	return &Policies{gateway: g, failures: failures}
}

type knownPolicy struct {
	policy registry.Policy
	until  time.Time
}

// TTL returns the TTL of an operation.
func (p *Policies) TTL(ctx context.Context, module, operation string) (time.Duration, error) {
	if policy, ok := p.known(module, time.Now()); ok {
		return policy.TTL(operation), nil
	}
	policy, err := p.gateway.Policy(ctx, module)
	if err != nil {
		p.failures.Add(module, operation, err)
		return 0, err
	}
	p.remember(module, policy, time.Now())
	return policy.TTL(operation), nil
}

// Read reads a policy for the near cache.
func (p *Policies) Read(ctx context.Context, slot registry.Slot) (registry.Policy, error) {
	policy, err := p.gateway.PolicyUnguarded(ctx, slot)
	if err == nil {
		p.remember(slot.Module, policy, time.Now())
	}
	return policy, err
}

func (p *Policies) known(module string, now time.Time) (registry.Policy, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	found, ok := p.byModule[module]
	return found.policy, ok && now.Before(found.until)
}

func (p *Policies) remember(module string, policy registry.Policy, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byModule == nil || len(p.byModule) >= maxPolicies {
		p.byModule = make(map[string]knownPolicy)
	}
	p.byModule[module] = knownPolicy{policy: policy, until: now.Add(policyMaxAge)}
}
