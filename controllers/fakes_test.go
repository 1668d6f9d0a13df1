// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// brittleStore is a real store that fails on demand, before or after the call was carried out, and
// remembers what was asked of it.
type brittleStore struct {
	Store

	mu     sync.Mutex
	before map[string]error
	once   map[string]error
	after  map[string]error
	calls  []string
}

func newBrittleStore(store Store) *brittleStore {
	return &brittleStore{Store: store, before: map[string]error{}, once: map[string]error{}, after: map[string]error{}}
}

// failBefore makes calls fail and change nothing; nil ends that.
func (s *brittleStore) failBefore(call string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before[call] = err
}

// failAfter makes calls fail once they did their work, as when the answer is lost; nil ends that.
func (s *brittleStore) failAfter(call string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after[call] = err
}

// failOnce makes the next call fail and change nothing.
func (s *brittleStore) failOnce(call string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.once[call] = err
}

// count returns how often a call was made.
func (s *brittleStore) count(call string) int {
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

func (s *brittleStore) enter(call string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
	if err := s.once[call]; err != nil {
		delete(s.once, call)
		return err
	}
	return s.before[call]
}

func (s *brittleStore) leave(call string, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		err = s.after[call]
	}
	return err
}

func (s *brittleStore) Check(ctx context.Context) (registry.Health, error) {
	if err := s.enter("Check"); err != nil {
		return registry.Health{}, err
	}
	health, err := s.Store.Check(ctx)
	return health, s.leave("Check", err)
}

func (s *brittleStore) Writable(ctx context.Context) error {
	if err := s.enter("Writable"); err != nil {
		return err
	}
	return s.leave("Writable", s.Store.Writable(ctx))
}

func (s *brittleStore) Stats(ctx context.Context, slot registry.Slot) (registry.Stats, error) {
	if err := s.enter("Stats"); err != nil {
		return registry.Stats{}, err
	}
	stats, err := s.Store.Stats(ctx, slot)
	return stats, s.leave("Stats", err)
}

func (s *brittleStore) StatsOf(ctx context.Context, slots []registry.Slot) ([]registry.Stats, error) {
	if err := s.enter("StatsOf"); err != nil {
		return nil, err
	}
	stats, err := s.Store.StatsOf(ctx, slots)
	return stats, s.leave("StatsOf", err)
}

func (s *brittleStore) AddModules(ctx context.Context, namespace string, modules ...string) error {
	if err := s.enter("AddModules"); err != nil {
		return err
	}
	return s.leave("AddModules", s.Store.AddModules(ctx, namespace, modules...))
}

func (s *brittleStore) Modules(ctx context.Context, namespace string) ([]string, error) {
	if err := s.enter("Modules"); err != nil {
		return nil, err
	}
	modules, err := s.Store.Modules(ctx, namespace)
	return modules, s.leave("Modules", err)
}

func (s *brittleStore) ApplyPolicyFor(ctx context.Context, claim registry.Claim, policy registry.Policy) (registry.Applied, error) {
	if err := s.enter("ApplyPolicy"); err != nil {
		return registry.Applied{}, err
	}
	applied, err := s.Store.ApplyPolicyFor(ctx, claim, policy)
	return applied, s.leave("ApplyPolicy", err)
}

func (s *brittleStore) DeletePolicyFor(ctx context.Context, claim registry.Claim) (bool, error) {
	if err := s.enter("DeletePolicy"); err != nil {
		return false, err
	}
	deleted, err := s.Store.DeletePolicyFor(ctx, claim)
	return deleted, s.leave("DeletePolicy", err)
}

func (s *brittleStore) OwnPolicies(ctx context.Context, claims []registry.Claim) error {
	if err := s.enter("OwnPolicies"); err != nil {
		return err
	}
	return s.leave("OwnPolicies", s.Store.OwnPolicies(ctx, claims))
}

// InvalidateMany fails for each target of a purge by itself, by the name Invalidate.
func (s *brittleStore) InvalidateMany(ctx context.Context, calls []registry.Invalidation) (results []registry.InvalidationResult) {
	for len(calls) > 0 {
		end := slices.IndexFunc(calls, func(call registry.Invalidation) bool { return call.RequestID != calls[0].RequestID })
		if end < 0 {
			end = len(calls)
		}
		results = append(results, s.invalidateTarget(ctx, calls[:end])...)
		calls = calls[end:]
	}
	return results
}

func (s *brittleStore) invalidateTarget(ctx context.Context, calls []registry.Invalidation) []registry.InvalidationResult {
	results := make([]registry.InvalidationResult, len(calls))
	err := s.enter("Invalidate")
	if err == nil {
		results = s.Store.InvalidateMany(ctx, calls)
		err = s.leave("Invalidate", nil)
	}
	for i := range results {
		if err != nil {
			results[i].Err = err
		}
	}
	return results
}

func (s *brittleStore) Reclaim(ctx context.Context, slot registry.Slot, limit int) (registry.Reclaimed, error) {
	if err := s.enter("Reclaim"); err != nil {
		return registry.Reclaimed{}, err
	}
	reclaimed, err := s.Store.Reclaim(ctx, slot, limit)
	return reclaimed, s.leave("Reclaim", err)
}

// oneStore is the store for everybody, and as well as a test says.
type oneStore struct {
	store   Store
	address string
	err     error
}

func (s *oneStore) Open(_ context.Context, id storeID) *Session {
	session := &Session{place: place{id: id, address: s.address}, err: s.err}
	if s.err == nil {
		session.Store = s.store
	}
	return session
}

// dawdlingStore takes long to reclaim.
type dawdlingStore struct {
	Store
	clock *clocktesting.FakePassiveClock
}

func (s dawdlingStore) Reclaim(ctx context.Context, slot registry.Slot, limit int) (registry.Reclaimed, error) {
	defer func() { s.clock.SetTime(s.clock.Now().Add(defaultReclaimSlice)) }()
	return s.Store.Reclaim(ctx, slot, limit)
}

// eventLog records events as "type reason: message".
type eventLog struct {
	mu     sync.Mutex
	events []string
}

func (l *eventLog) Eventf(about, _ runtime.Object, eventType, reason, _, note string, args ...any) {
	hearEvent(kindOf(about), reason)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, fmt.Sprintf("%s %s: %s", eventType, reason, fmt.Sprintf(note, args...)))
}

// take returns the events since the last take.
func (l *eventLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.events
	l.events = nil
	return taken
}

// What can be wrong with a store, as package registry says it.
var (
	errDown      = fmt.Errorf("cw_stats of a/b: %w: dial tcp 127.0.0.1:1: connect: connection refused", registry.ErrUnreachable)
	errLost      = fmt.Errorf("cw_stats of a/b: %w: read tcp 127.0.0.1:1: i/o timeout", registry.ErrUnreachable)
	errPassword  = fmt.Errorf("INFO: %w: WRONGPASS invalid username-password pair or user is disabled", registry.ErrUnauthorized)
	errOld       = fmt.Errorf("127.0.0.1:1 runs Redis 6.2.14: %w: use Redis 7.0 or Valkey 7.2, or later", registry.ErrUnsupported)
	errForbidden = fmt.Errorf("cw_policy_apply of a/b: %w: NOPERM this user has no permissions", registry.ErrForbidden)
	errDamaged   = fmt.Errorf("cw_policy_apply of a/b: %w: WRONGTYPE Operation against a key", registry.ErrUnexpected)
	errFull      = fmt.Errorf("cw_set of a/b: %w: OOM command not allowed", registry.ErrOutOfMemory)
	errRefused   = fmt.Errorf("cw_policy_apply of a/b: %w: CACHEWRIGHT cw_policy_apply: revision must be a string", registry.ErrRejected)
)

func runtimeScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	if err := errors.Join(v1.AddToScheme(s), corev1.AddToScheme(s)); err != nil {
		t.Fatal(err)
	}
	return s
}

// eventually waits for a condition outside of ginkgo.
func eventually(t *testing.T, otherwise string, condition func() bool) {
	t.Helper()
	NewWithT(t).Eventually(condition, patience).Should(BeTrue(), otherwise)
}
