// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/redis/go-redis/v9"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/cachepolicy"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/metrics"
	"github.com/cachewright/cachewright/controllers/internal/queue"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/recovery"
	"github.com/cachewright/cachewright/controllers/stores"
	"github.com/cachewright/cachewright/controllers/stores/storetest"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// shared is a Redis of three namespaces. Each has a policy for module users that is in force, as
// its status says. The application of evil writes anything under its keys, and the operator's ACL
// forbids bank.
type shared struct {
	admin   redis.UniversalClient
	store   *registry.Registry // as the operator
	cluster client.Client
	monitor *stores.Monitor

	queues queue.Set

	mu    sync.Mutex
	woken []string
	log   []string
}

func (s *shared) logged(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, line)
}

// isLogged reports whether a line that was logged holds a text.
func (s *shared) isLogged(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.log, func(line string) bool { return strings.Contains(line, text) })
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
		policy := controllertest.UsersPolicy()
		policy.Namespace, policy.Finalizers = namespace, []string{v1.CachePolicyFinalizer}
		policy.Status.AppliedHash = convert.Policy(&policy.Spec).Hash()
		policies = append(policies, policy)
	}
	s.cluster = controllertest.FakeCluster(t, policies...)
	elected := make(chan struct{})
	close(elected)
	s.queues = queue.NewSet()
	s.monitor = stores.NewManager(stores.Deps{
		Reader: s.cluster, Metrics: metrics.New(stats.NewSnapshot()), Snapshot: stats.NewSnapshot(), Clock: clock.RealClock{},
		Log: funcr.New(func(_, args string) { s.logged(args) }, funcr.Options{}), Journal: recovery.NewJournal(), Events: &events.FakeRecorder{},
		// Statistics are read at each probe.
		Interval: 5 * time.Second, StatsInterval: 2, RenewInterval: time.Minute, Elected: elected, Queues: s.queues,
	}).Give(resource.DefaultStore, s.store, "r:6379", "")
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() {
		for {
			select {
			case e := <-s.queues.Policies:
				if e.Object.Within == 0 && e.Object.Name.Name != "" { // others are to show statistics
					s.mu.Lock()
					s.woken = append(s.woken, e.Object.Name.Namespace)
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

func (s *shared) wanted() registry.Policy { return convert.Policy(&controllertest.UsersPolicy().Spec) }

// wakes returns the namespaces of those that a probe wakes, in a row.
func (s *shared) wakes(ctx context.Context, t *testing.T) string {
	t.Helper()
	s.mu.Lock()
	s.woken = nil
	s.mu.Unlock()
	if err := s.monitor.Probe(ctx); err != nil {
		t.Fatal(err)
	}
	for range 2 { // when the second is taken, all before the first are noted
		s.queues.Policies.Enqueue(ctx, client.ObjectKey{})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.woken, " ")
}

func (s *shared) reconcile(t *testing.T, namespace string) *v1.CachePolicy {
	t.Helper()
	r := &cachepolicy.Reconciler{
		Client: s.cluster, Reader: s.cluster, Stores: &storetest.Provider{Store: s.store, Address: "r:6379"}, Events: &events.FakeRecorder{}, Snapshot: stats.NewSnapshot(),
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

// What one tenant wrote, and what the ACL forbids in another's namespace, keeps no policy of a
// third from being repaired, counted and fenced. Each says what is wrong with itself.
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

	if woken := s.wakes(ctx, t); woken != "bank evil good" {
		t.Errorf("woke %q, want all: what cannot be read differs", woken)
	}
	for _, namespace := range []string{"evil", "good"} {
		if policy := s.reconcile(t, namespace); controllertest.Ready(policy.Status.Conditions) != "True Applied" {
			t.Errorf("%s: %+v", namespace, status.Ready(policy.Status.Conditions))
		}
	}
	bank := s.reconcile(t, "bank")
	if message := status.Ready(bank.Status.Conditions).Message; controllertest.Ready(bank.Status.Conditions) != "False StoreUnauthorized" || !strings.Contains(message, "ACL") {
		t.Errorf("bank: %s: %s", controllertest.Ready(bank.Status.Conditions), message)
	}
	if woken := s.wakes(ctx, t); woken != "" {
		t.Errorf("woke %q, want none: bank retries itself", woken)
	}
}

func TestStatisticsOfOneTenantHoldUpNoOther(t *testing.T) {
	s := newShared(t)
	ctx := t.Context()
	if err := s.monitor.Probe(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.admin.Set(ctx, "cw:{evil/users}:counters", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.monitor.Probe(ctx); err != nil {
		t.Fatal(err)
	}
	if !s.isLogged("Reading statistics from Redis failed") {
		t.Error("nothing is said of those that have none")
	}
	last, _ := s.monitor.Report()
	if last.Totals == nil || last.Totals.Modules != 2 {
		t.Errorf("counted %+v, want those of good, and of evil, whose counters the library dropped; those of bank are forbidden", last.Totals)
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

	if err := s.monitor.Probe(ctx); err != nil {
		t.Fatal(err)
	}
	if found, err := s.store.Read(ctx, key); err != nil || found.Hit {
		t.Errorf("an entry of before is live (%v)", err)
	}
	for _, namespace := range []string{"good", "evil"} {
		if !s.isFenced(t, namespace) {
			t.Errorf("%s is not fenced", namespace)
		}
	}
	if s.isFenced(t, "bank") {
		t.Error("bank is fenced against its ACL")
	}

	// As soon as the ACL allows it, it is fenced.
	if err := s.admin.Do(ctx, "ACL", "SETUSER", "operator", "~cw:{bank*").Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.monitor.Probe(ctx); err != nil {
		t.Fatal(err)
	}
	if !s.isFenced(t, "bank") {
		t.Error("bank is not fenced")
	}
}

// isFenced reports whether the module of a namespace was fenced in the present incarnation.
func (s *shared) isFenced(t *testing.T, namespace string) bool {
	t.Helper()
	fences, err := registry.New(s.admin).Fences(t.Context(), []registry.Slot{s.slot(namespace)})
	if err != nil {
		t.Fatal(err)
	}
	return fences[0].InPlace
}
