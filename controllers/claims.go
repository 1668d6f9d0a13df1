// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

const (
	// renewClaims is the time after which a claim is renewed. Redis forgets one after a day.
	renewClaims = time.Hour
	// claimBatch is the number of claims in one pipeline, which others wait for: less than a millisecond.
	claimBatch = 50
)

// claimingStore is a store that remembers, for as long as it is connected, when its policies were claimed: a claim that was
// renewed within the hour costs nothing.
type claimingStore struct {
	Store

	clock clock.PassiveClock

	mu   sync.Mutex
	held map[registry.Claim]time.Time
}

func newClaimingStore(store Store, passive clock.PassiveClock) *claimingStore {
	return &claimingStore{Store: store, clock: passive, held: map[registry.Claim]time.Time{}}
}

// ApplyPolicyFor implements Store.
func (s *claimingStore) ApplyPolicyFor(ctx context.Context, claim registry.Claim, policy registry.Policy) (registry.Applied, error) {
	applied, err := s.Store.ApplyPolicyFor(ctx, claim, policy)
	s.note(claim, err)
	return applied, err
}

// DeletePolicyFor implements Store.
func (s *claimingStore) DeletePolicyFor(ctx context.Context, claim registry.Claim) (bool, error) {
	s.forget(claim)
	return s.Store.DeletePolicyFor(ctx, claim)
}

// OwnPolicies implements Store.
func (s *claimingStore) OwnPolicies(ctx context.Context, claims []registry.Claim) error {
	broken := registry.SlotErrors{}
	for batch := range slices.Chunk(s.due(claims), claimBatch) {
		err := s.Store.OwnPolicies(ctx, batch)
		var ofSlots registry.SlotErrors
		if err != nil && !errors.As(err, &ofSlots) {
			return err
		}
		for _, claim := range batch {
			s.note(claim, ofSlots[claim.Slot])
		}
		_ = broken.Take(err)
	}
	return broken.OrNil()
}

// due selects the claims that are to be renewed.
func (s *claimingStore) due(claims []registry.Claim) []registry.Claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due []registry.Claim
	for _, claim := range claims {
		renewed, held := s.held[held(claim)]
		if !held || claim.Over != "" || s.clock.Since(renewed) >= renewClaims {
			due = append(due, claim)
		}
	}
	return due
}

// note remembers what became of a claim.
func (s *claimingStore) note(claim registry.Claim, err error) {
	if err != nil {
		s.forget(claim)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[held(claim)] = s.clock.Now()
}

func (s *claimingStore) forget(claim registry.Claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, held(claim))
}

// held names a claim that is held, no matter over whom.
func held(claim registry.Claim) registry.Claim {
	claim.Over = ""
	return claim
}

// renewClaims renews the claims of the policies that are in force, where that is due, and wakes those whose module another
// owner has taken over. A suspended policy keeps its module, too.
func (m *Monitor) renewClaims(ctx context.Context, policies []v1.CachePolicy) error {
	var claims []registry.Claim
	claimants := map[registry.Slot]client.ObjectKey{}
	for i := range policies {
		policy := &policies[i]
		if policy.DeletionTimestamp.IsZero() && policy.Status.AppliedHash != "" && m.Cluster != "" {
			claims = append(claims, claimOf(m.Cluster, policy))
			claimants[slotOf(policy)] = client.ObjectKeyFromObject(policy)
		}
	}
	if len(claims) == 0 {
		return nil
	}
	err := m.link.store.OwnPolicies(ctx, claims)
	var broken registry.SlotErrors
	if !errors.As(err, &broken) {
		return err
	}
	for slot, err := range broken {
		if _, contended := contenderOf(err); contended {
			m.policies.wake(ctx, claimants[slot])
			delete(broken, slot)
		}
	}
	return broken.OrNil()
}
