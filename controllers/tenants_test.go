// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/redis/go-redis/v9"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// shared is a Redis of three namespaces, each with a policy for module users that is in force, as their status says: good;
// evil, whose application writes what it likes under its keys; and bank, which the operator's ACL forbids.
type shared struct {
	admin   redis.UniversalClient
	store   *registry.Registry // as the operator
	cluster client.Client
	monitor *Monitor

	mu    sync.Mutex
	woken []string
}

func newShared(t *testing.T) *shared {
	t.Helper()
	server := redistest.Start(t)
	s := &shared{admin: server.Client()}
	for _, user := range [][]any{
		{"ACL", "SETUSER", "operator", "on", ">secret", "~cw:{good*", "~cw:{evil*", "+@all"},
	} {
		if err := s.admin.Do(t.Context(), user...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	s.store = registry.New(server.ClientAs("operator", "secret"))
	var policies []client.Object
	for _, namespace := range []string{"bank", "evil", "good"} {
		policy := usersPolicy()
		policy.Namespace, policy.Finalizers = namespace, []string{v1.CachePolicyFinalizer}
		policy.Status.AppliedHash = policyOf(&policy.Spec).Hash()
		policies = append(policies, policy)
	}
	s.cluster = fakeCluster(t, policies...)
	elected := make(chan struct{})
	close(elected)
	s.monitor = newMonitor(defaultStore, givenStore{store: s.store, place: place{address: "r:6379"}}, surroundings{
		Reader: s.cluster, Metrics: NewMetrics(), Clock: clock.RealClock{}, Log: logr.Discard(), Journal: newJournal(), Events: &events.FakeRecorder{},
		Interval: 5 * time.Second, StatsInterval: time.Minute, RenewInterval: time.Minute, Elected: elected,
		policies: make(wakeups), invalidations: make(wakeups), stores: make(wakeups),
	})
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() {
		for {
			select {
			case e := <-s.monitor.policies:
				if e.Object.within == 0 && e.Object.name.Name != "" { // others are to show figures
					s.mu.Lock()
					s.woken = append(s.woken, e.Object.name.Namespace)
					s.mu.Unlock()
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	for _, namespace := range []string{"evil", "good"} {
		if _, err := s.store.ApplyPolicy(t.Context(), s.slot(namespace), s.wanted()); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *shared) slot(namespace string) registry.Slot {
	return registry.Slot{Namespace: namespace, Module: "users"}
}

func (s *shared) wanted() registry.Policy { return policyOf(&usersPolicy().Spec) }

// wakes returns the namespaces of those that a look wakes, in a row.
func (s *shared) wakes(ctx context.Context, t *testing.T) string {
	t.Helper()
	s.mu.Lock()
	s.woken = nil
	s.mu.Unlock()
	if err := s.monitor.look(ctx); err != nil {
		t.Fatal(err)
	}
	for range 2 { // when the second is taken, all before the first are noted
		s.monitor.policies.wake(ctx, client.ObjectKey{})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.woken, " ")
}

func (s *shared) reconcile(t *testing.T, namespace string) *v1.CachePolicy {
	t.Helper()
	r := &CachePolicyReconciler{
		Client: s.cluster, Reader: s.cluster, Stores: &oneStore{store: s.store, address: "r:6379"}, Events: &events.FakeRecorder{}, Metrics: NewMetrics(),
		Clock: clock.RealClock{}, StatsInterval: time.Minute, WithdrawTimeout: time.Minute,
	}
	name := client.ObjectKey{Namespace: namespace, Name: "users"}
	if _, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: name}); err != nil {
		t.Fatal(err)
	}
	policy := &v1.CachePolicy{}
	if err := s.cluster.Get(t.Context(), name, policy); err != nil {
		t.Fatal(err)
	}
	return policy
}

// fakeCluster is fakeCache, and has resources with a status of their own.
func fakeCluster(t *testing.T, objects ...client.Object) client.Client {
	t.Helper()
	return fakeCacheBuilder(t, objects...).WithStatusSubresource(&v1.CachePolicy{}, &v1.CacheInvalidation{}, &v1.CacheStore{}).Build()
}

// What one tenant wrote, and what the ACL forbids in another's namespace, keeps no policy of a third from being repaired,
// counted and fenced. Each says what is wrong with itself.
func TestOneTenantsKeysHoldUpNoOther(t *testing.T) {
	s := newShared(t)
	ctx := t.Context()
	if woken := s.wakes(ctx, t); woken != "bank" {
		t.Errorf("at first, woke %q", woken)
	}
	if err := s.admin.Set(ctx, "cw:{evil/users}:policy", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.admin.Del(ctx, "cw:{good/users}:policy")
	s.monitor.nextCount = time.Time{}

	if woken := s.wakes(ctx, t); woken != "bank evil good" {
		t.Errorf("woke %q, want all: what cannot be read differs", woken)
	}
	for _, namespace := range []string{"evil", "good"} {
		if policy := s.reconcile(t, namespace); ready(policy.Status.Conditions) != "True Applied" {
			t.Errorf("%s: %+v", namespace, readyOf(policy.Status.Conditions))
		}
	}
	bank := s.reconcile(t, "bank")
	if message := readyOf(bank.Status.Conditions).Message; ready(bank.Status.Conditions) != "False StoreUnauthorized" || !strings.Contains(message, "ACL") {
		t.Errorf("bank: %s: %s", ready(bank.Status.Conditions), message)
	}
	if woken := s.wakes(ctx, t); woken != "" {
		t.Errorf("woke %q, want none: bank looks by itself", woken)
	}
}

func TestFiguresOfOneTenantHoldUpNoOther(t *testing.T) {
	s := newShared(t)
	ctx := t.Context()
	if err := s.monitor.look(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.admin.Set(ctx, "cw:{evil/users}:counters", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.monitor.nextCount = time.Time{}
	if err := s.monitor.count(ctx); err == nil {
		t.Error("nothing is said of those that have none")
	}
	last, _ := s.monitor.report()
	if last.figures == nil || last.figures.modules != 2 {
		t.Errorf("counted %+v, want those of good, and of evil, whose counters the library dropped; those of bank are forbidden", last.figures)
	}
}

func TestFencesOfOneTenantHoldUpNoOther(t *testing.T) {
	s := newShared(t)
	ctx := t.Context()
	key := registry.Key{Slot: s.slot("good"), Operation: "list", ID: "1"}
	lease, err := s.store.Lease(ctx, key)
	if err == nil {
		_, err = s.store.Set(ctx, key, []byte("x"), lease.Token)
	}
	if err != nil {
		t.Fatal(err)
	}
	health, err := s.store.Check(ctx)
	if err != nil {
		t.Fatal(err)
	}
	incarnation := health.Primaries[0].Incarnation()
	s.admin.HSet(ctx, "cw:{evil/users}:r:fence/"+string(incarnation), "a", "b")

	if err := s.monitor.look(ctx); err != nil {
		t.Fatal(err)
	}
	if found, err := s.store.Read(ctx, key); err != nil || found.Hit {
		t.Errorf("an entry of before is live (%v)", err)
	}
	for namespace, want := range map[string]registry.Incarnation{"good": incarnation, "evil": incarnation, "bank": never} {
		if got := s.monitor.fenced.inPlace[s.slot(namespace)]; got != want {
			t.Errorf("%s: fenced in %q, want %q", namespace, got, want)
		}
	}

	// As soon as the ACL allows it, it is fenced.
	if err := s.admin.Do(ctx, "ACL", "SETUSER", "operator", "~cw:{bank*").Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.monitor.look(ctx); err != nil {
		t.Fatal(err)
	}
	if got := s.monitor.fenced.inPlace[s.slot("bank")]; got != incarnation {
		t.Errorf("fenced in %q, want %q", got, incarnation)
	}
}
