// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package calls

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/cachewright/cachewright/registry"
)

// claimAge is the time after which a claim is renewed. Redis forgets one after a day.
const claimAge = time.Hour

// claimingStore is a store that remembers, while it is connected, when its policies were claimed. A
// claim that was renewed within the hour costs nothing.
type claimingStore struct {
	Store

	clock clock.PassiveClock

	mu   sync.Mutex
	held map[registry.Claim]time.Time
}

// NewClaimingStore returns a store that renews claims only when that is due.
func NewClaimingStore(store Store, passive clock.PassiveClock) Store {
	return &claimingStore{Store: store, clock: passive, held: map[registry.Claim]time.Time{}}
}

// ApplyPolicyFor implements Store.
func (s *claimingStore) ApplyPolicyFor(
	ctx context.Context, claim registry.Claim, policy registry.Policy,
) (registry.Applied, error) {
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
	due := s.due(claims)
	if len(due) == 0 {
		return nil
	}
	err := s.Store.OwnPolicies(ctx, due)
	var broken registry.SlotErrors
	if err != nil && !errors.As(err, &broken) {
		return err
	}
	for _, claim := range due {
		s.note(claim, broken[claim.Slot])
	}
	return err
}

// due selects the claims that have to be renewed.
func (s *claimingStore) due(claims []registry.Claim) []registry.Claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due []registry.Claim
	for _, claim := range claims {
		renewed, isHeld := s.held[held(claim)]
		if !isHeld || claim.Over != "" || s.clock.Since(renewed) >= claimAge {
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
