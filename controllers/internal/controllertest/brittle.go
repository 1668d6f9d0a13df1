// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllertest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// BrittleStore is a real store that fails on demand, before or after the call was carried out, and
// remembers what was asked of it.
type BrittleStore struct {
	*registry.Registry

	mu     sync.Mutex
	before map[string]error
	once   map[string]error
	after  map[string]error
	calls  []string
}

// NewBrittleStore returns a store that does not fail yet.
func NewBrittleStore(store *registry.Registry) *BrittleStore {
	return &BrittleStore{
		Registry: store, before: map[string]error{}, once: map[string]error{}, after: map[string]error{},
	}
}

// FailBefore makes calls fail and change nothing; nil ends that.
func (s *BrittleStore) FailBefore(call string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before[call] = err
}

// FailAfter makes calls fail once they did their work, as when the answer is lost; nil ends that.
func (s *BrittleStore) FailAfter(call string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after[call] = err
}

// FailOnce makes the next call fail and change nothing.
func (s *BrittleStore) FailOnce(call string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.once[call] = err
}

// Count returns how often a call was made.
func (s *BrittleStore) Count(call string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, made := range s.calls {
		if made == call {
			n++
		}
	}
	return n
}

func (s *BrittleStore) enter(call string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
	if err := s.once[call]; err != nil {
		delete(s.once, call)
		return err
	}
	return s.before[call]
}

func (s *BrittleStore) leave(call string, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		err = s.after[call]
	}
	return err
}

// Check implements calls.Store.
func (s *BrittleStore) Check(ctx context.Context) (registry.Health, error) {
	if err := s.enter("Check"); err != nil {
		return registry.Health{}, err
	}
	health, err := s.Registry.Check(ctx)
	return health, s.leave("Check", err)
}

// Writable implements calls.Store.
func (s *BrittleStore) Writable(ctx context.Context) error {
	if err := s.enter("Writable"); err != nil {
		return err
	}
	return s.leave("Writable", s.Registry.Writable(ctx))
}

// Stats implements calls.Store.
func (s *BrittleStore) Stats(ctx context.Context, slot registry.Slot) (registry.Stats, error) {
	if err := s.enter("Stats"); err != nil {
		return registry.Stats{}, err
	}
	stats, err := s.Registry.Stats(ctx, slot)
	return stats, s.leave("Stats", err)
}

// StatsOf implements calls.Store.
func (s *BrittleStore) StatsOf(
	ctx context.Context, slots []registry.Slot,
) ([]registry.Stats, error) {
	if err := s.enter("StatsOf"); err != nil {
		return nil, err
	}
	stats, err := s.Registry.StatsOf(ctx, slots)
	return stats, s.leave("StatsOf", err)
}

// EnsureListed counts, by the name ListAll, how often all modules of a namespace are written.
func (s *BrittleStore) EnsureListed(
	ctx context.Context, slot registry.Slot, all func() ([]string, error),
) error {
	return s.Registry.EnsureListed(ctx, slot, func() ([]string, error) {
		if err := s.enter("ListAll"); err != nil {
			return nil, err
		}
		modules, err := all()
		return modules, s.leave("ListAll", err)
	})
}

// Modules implements calls.Store.
func (s *BrittleStore) Modules(ctx context.Context, namespace string) ([]string, error) {
	if err := s.enter("Modules"); err != nil {
		return nil, err
	}
	modules, err := s.Registry.Modules(ctx, namespace)
	return modules, s.leave("Modules", err)
}

// ApplyPolicyFor implements calls.Store.
func (s *BrittleStore) ApplyPolicyFor(
	ctx context.Context, claim registry.Claim, policy registry.Policy,
) (registry.Applied, error) {
	if err := s.enter("ApplyPolicy"); err != nil {
		return registry.Applied{}, err
	}
	applied, err := s.Registry.ApplyPolicyFor(ctx, claim, policy)
	return applied, s.leave("ApplyPolicy", err)
}

// DeletePolicyFor implements calls.Store.
func (s *BrittleStore) DeletePolicyFor(ctx context.Context, claim registry.Claim) (bool, error) {
	if err := s.enter("DeletePolicy"); err != nil {
		return false, err
	}
	deleted, err := s.Registry.DeletePolicyFor(ctx, claim)
	return deleted, s.leave("DeletePolicy", err)
}

// OwnPolicies implements calls.Store.
func (s *BrittleStore) OwnPolicies(ctx context.Context, claims []registry.Claim) error {
	if err := s.enter("OwnPolicies"); err != nil {
		return err
	}
	return s.leave("OwnPolicies", s.Registry.OwnPolicies(ctx, claims))
}

// InvalidateMany fails for each target of an invalidation alone, by the name Invalidate.
func (s *BrittleStore) InvalidateMany(
	ctx context.Context, calls []registry.Invalidation,
) (results []registry.InvalidationResult) {
	for len(calls) > 0 {
		end := slices.IndexFunc(calls, func(call registry.Invalidation) bool {
			return call.RequestID != calls[0].RequestID
		})
		if end < 0 {
			end = len(calls)
		}
		results = append(results, s.invalidateTarget(ctx, calls[:end])...)
		calls = calls[end:]
	}
	return results
}

func (s *BrittleStore) invalidateTarget(
	ctx context.Context, calls []registry.Invalidation,
) []registry.InvalidationResult {
	results := make([]registry.InvalidationResult, len(calls))
	err := s.enter("Invalidate")
	if err == nil {
		results = s.Registry.InvalidateMany(ctx, calls)
		err = s.leave("Invalidate", nil)
	}
	for i := range results {
		if err != nil {
			results[i].Err = err
		}
	}
	return results
}

// Reclaim implements calls.Store.
func (s *BrittleStore) Reclaim(
	ctx context.Context, slot registry.Slot, limit int,
) (registry.Reclaimed, error) {
	if err := s.enter("Reclaim"); err != nil {
		return registry.Reclaimed{}, err
	}
	reclaimed, err := s.Registry.Reclaim(ctx, slot, limit)
	return reclaimed, s.leave("Reclaim", err)
}

// Hold implements calls.Store.
func (s *BrittleStore) Hold(
	ctx context.Context, slot registry.Slot, id registry.HoldID, ttl time.Duration,
	targets ...registry.HoldTarget,
) (registry.Held, error) {
	if err := s.enter("Hold"); err != nil {
		return registry.Held{}, err
	}
	held, err := s.Registry.Hold(ctx, slot, id, ttl, targets...)
	return held, s.leave("Hold", err)
}

// Release implements calls.Store.
func (s *BrittleStore) Release(
	ctx context.Context, slot registry.Slot, id registry.HoldID, targets ...registry.HoldTarget,
) (int64, error) {
	if err := s.enter("Release"); err != nil {
		return 0, err
	}
	lifted, err := s.Registry.Release(ctx, slot, id, targets...)
	return lifted, s.leave("Release", err)
}
