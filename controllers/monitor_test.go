// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// scriptedStore answers checks as a test says.
type scriptedStore struct {
	Store

	mu       sync.Mutex
	health   registry.Health
	err      error
	checks   int
	installs int
	writes   int
}

func (s *scriptedStore) Serving(_ context.Context, _ registry.Health, slots []registry.Slot) ([]registry.Incarnation, error) {
	return make([]registry.Incarnation, len(slots)), nil
}

func (s *scriptedStore) answer(health registry.Health, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health, s.err = health, err
}

func (s *scriptedStore) Check(context.Context) (registry.Health, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks++
	return s.health, s.err
}

func (s *scriptedStore) Writable(context.Context) error { return nil }

func (s *scriptedStore) Install(context.Context) (int, error) {
	s.installs++
	s.health.LibraryVersion = registry.LibraryVersion
	return 1, nil
}

func (s *scriptedStore) PolicyHashes(_ context.Context, slots []registry.Slot) ([]string, error) {
	return make([]string, len(slots)), nil
}

func (s *scriptedStore) StatsOf(_ context.Context, slots []registry.Slot) ([]registry.Stats, error) {
	return make([]registry.Stats, len(slots)), nil
}

func (s *scriptedStore) AddAllModules(context.Context, map[string][]string) error {
	s.writes++
	return nil
}

// monitorOf returns a monitor of a store with one policy, which is in force, in its cache. What it
// wakes is counted.
func monitorOf(t *testing.T, store *scriptedStore, leads bool) (monitor *Monitor, woken func() int) {
	t.Helper()
	policy := usersPolicy()
	policy.Namespace = "shop"
	policy.Status.AppliedHash = "h"
	elected := make(chan struct{})
	if leads {
		close(elected)
	}
	monitor = newMonitor(defaultStore, givenStore{store: store, place: place{address: "r:6379"}}, surroundings{
		Reader: fakeCache(t, policy), Metrics: NewMetrics(), Clock: clocktesting.NewFakeClock(time.Now()), Log: logr.Discard(),
		Interval: 5 * time.Second, StatsInterval: time.Minute, RenewInterval: time.Minute, Elected: elected,
		policies: make(wakeups), invalidations: make(wakeups), stores: make(wakeups),
	})
	monitor.place = place{address: "r:6379"}

	var mu sync.Mutex
	count := 0
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() {
		for {
			select {
			case <-monitor.policies:
				mu.Lock()
				count++
				mu.Unlock()
			case <-ctx.Done():
				return
			}
		}
	}()
	return monitor, func() int {
		mu.Lock()
		defer mu.Unlock()
		return count
	}
}

// fakeCache has objects, and is indexed as the manager's cache is.
func fakeCache(t *testing.T, objects ...client.Object) client.WithWatch {
	t.Helper()
	return fakeCacheBuilder(t, objects...).Build()
}

func fakeCacheBuilder(t *testing.T, objects ...client.Object) *fake.ClientBuilder {
	t.Helper()
	builder := fake.NewClientBuilder().WithScheme(runtimeScheme(t)).WithObjects(objects...)
	if err := indexFields(indexerOf(func(o client.Object, field string, values client.IndexerFunc) {
		builder = builder.WithIndex(o, field, values)
	})); err != nil {
		t.Fatal(err)
	}
	return builder
}

type indexerOf func(o client.Object, field string, values client.IndexerFunc)

func (f indexerOf) IndexField(_ context.Context, o client.Object, field string, values client.IndexerFunc) error {
	f(o, field, values)
	return nil
}

func fine(runIDs ...string) registry.Health {
	return registry.Health{Version: "7.0.15", RunIDs: runIDs, LibraryVersion: registry.LibraryVersion}
}

func TestMonitorTellsWhatConcernsEveryResource(t *testing.T) {
	store := &scriptedStore{}
	monitor, _ := monitorOf(t, store, true)
	steps := []struct {
		name    string
		health  registry.Health
		err     error
		changed bool
	}{
		{"the first look: all are looked at anyway", fine("a"), nil, false},
		{"nothing new", fine("a"), nil, false},
		{"lost", registry.Health{}, errDown, true},
		{"still lost", registry.Health{}, errLost, false},
		{"now it refuses us", registry.Health{}, errPassword, true},
		{"back", fine("a"), nil, true},
		{"restarted between two looks", fine("b"), nil, true},
		{"a primary more", fine("b", "c"), nil, true},
		{"nothing new", fine("b", "c"), nil, false},
	}
	for _, step := range steps {
		if changed := monitor.note(finding{health: step.health, err: step.err}); changed != step.changed {
			t.Errorf("%s: concerns every resource: %t; want %t", step.name, changed, step.changed)
		}
	}
}

func TestMonitorKeepsTheFirstWordsForTheSameTrouble(t *testing.T) {
	monitor, _ := monitorOf(t, &scriptedStore{}, true)
	monitor.note(finding{err: errDown})
	monitor.note(finding{err: errLost})
	if err := monitor.Open().Err(); !errors.Is(err, errDown) {
		t.Errorf("says %v; want %v", err, errDown)
	}
}

func TestOnlyTheLeaderWrites(t *testing.T) {
	for _, leads := range []bool{true, false} {
		store := &scriptedStore{health: registry.Health{Version: "7.0.15", RunIDs: []string{"a"}}}
		monitor, _ := monitorOf(t, store, leads)
		if err := monitor.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		if wrote := store.installs+store.writes > 0; wrote != leads {
			t.Errorf("leads: %t; wrote: %t", leads, wrote)
		}
		if err := monitor.Ready(nil); err != nil {
			t.Errorf("leads: %t; not ready: %v", leads, err)
		}
	}
}

func TestReadinessSaysWhatIsWrong(t *testing.T) {
	monitor, _ := monitorOf(t, &scriptedStore{}, false)
	want := func(parts ...string) {
		t.Helper()
		err := monitor.Ready(nil)
		if err == nil {
			t.Fatalf("ready; want %q", parts)
		}
		for _, part := range append(parts, "r:6379") {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not say %q", err, part)
			}
		}
	}
	want("not been checked yet")
	monitor.note(finding{err: errPassword})
	want("WRONGPASS", "REDIS_PASSWORD")
	monitor.note(finding{err: errDown})
	want("connection refused", "REDIS_HOST")
	monitor.note(finding{health: fine("a")})
	if err := monitor.Ready(nil); err != nil {
		t.Errorf("not ready: %v", err)
	}
}

func TestMonitorLogsTransitionsOnly(t *testing.T) {
	monitor, _ := monitorOf(t, &scriptedStore{}, true)
	var lines []string
	monitor.Log = funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{})
	for range 5 {
		monitor.note(finding{err: errDown})
	}
	for range 5 {
		monitor.note(finding{health: fine("a")})
	}
	if len(lines) != 2 {
		t.Errorf("logged %d times: %q", len(lines), lines)
	}
}

// No resource stands for the operator's own Redis: what endangers its users is told by a metric and in the log.
func TestMonitorTellsWhatPutsTheStoreAtRisk(t *testing.T) {
	monitor, _ := monitorOf(t, &scriptedStore{}, true)
	var lines []string
	monitor.Log = funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{})
	full, old := fine("a"), fine("a")
	full.Primaries = []registry.Primary{{Addr: "r:6379", EvictionPolicy: "noeviction", UsedMemory: 100, MaxMemory: 100}}
	old.Primaries = []registry.Primary{{Addr: "r:6379", AppendOnly: true}}
	for _, step := range []struct {
		name    string
		finding finding
		reason  string // empty: no danger
		logged  string
	}{
		{"well", finding{health: fine("a")}, "", "Redis can be used"},
		{"full", finding{health: full}, v1.ReasonMemoryFull, "raise maxmemory"},
		{"full still", finding{health: full}, v1.ReasonMemoryFull, ""},
		{"down, nothing is known", finding{err: errDown}, v1.ReasonMemoryFull, "cannot be used"},
		{"another danger", finding{health: old}, v1.ReasonRestoresOldState, "append-only file"},
		{"well again", finding{health: fine("a")}, "", "at risk no more"},
		{"well still", finding{health: fine("a")}, "", ""},
	} {
		lines = nil
		monitor.note(step.finding)
		if told := strings.Join(lines, "\n"); !strings.Contains(told, step.logged) || (told == "") != (step.logged == "") {
			t.Errorf("%s: logged %q; want %q", step.name, told, step.logged)
		}
		risks := risksIn(t, monitor.Metrics)
		for _, reason := range dangers {
			if at, told := risks[reason]; !told || at != (reason == step.reason) {
				t.Errorf("%s: %s is told: %t, and true: %t", step.name, reason, told, at)
			}
		}
	}
	monitor.Metrics.forgetStore(defaultStore)
	if left := risksIn(t, monitor.Metrics); len(left) > 0 {
		t.Errorf("of a store that is no more, %v are left", left)
	}
}

// risksIn reads cachewright_store_at_risk of the only store there is, by reason.
func risksIn(t *testing.T, metrics *Metrics) map[string]bool {
	t.Helper()
	gathered := prometheus.NewRegistry()
	gathered.MustRegister(metrics)
	families, err := gathered.Gather()
	if err != nil {
		t.Fatal(err)
	}
	risks := map[string]bool{}
	for _, family := range families {
		if family.GetName() != "cachewright_store_at_risk" {
			continue
		}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "reason" {
					risks[label.GetValue()] = metric.GetGauge().GetValue() == 1
				}
			}
		}
	}
	return risks
}

// The store is looked at more and more seldom while it is down, and woken resources are told when
// it is back.
func TestMonitorBacksOffAndRecovers(t *testing.T) {
	store := &scriptedStore{}
	store.answer(registry.Health{}, errDown)
	monitor, woken := monitorOf(t, store, true)
	clock := monitor.Clock.(*clocktesting.FakeClock)
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { monitor.run(ctx) })
	defer done.Wait()
	defer cancel()
	checks := func() int {
		store.mu.Lock()
		defer store.mu.Unlock()
		return store.checks
	}
	eventually(t, "it did not settle down to wait", func() bool { return checks() >= 1 && clock.HasWaiters() })

	// 1s, 2s, 4s, 8s, 16s, 30s, each with a fifth of jitter: within 61s there are 5 looks at most.
	before := checks()
	for range 61 {
		eventually(t, "nobody waits", clock.HasWaiters)
		clock.Step(time.Second)
	}
	eventually(t, "nobody waits", clock.HasWaiters)
	if looks := checks() - before; looks < 3 || looks > 6 {
		t.Errorf("looked %d times in a minute; want 3 to 6", looks)
	}

	store.answer(fine("a"), nil)
	clock.Step(36 * time.Second)
	eventually(t, "nothing was woken", func() bool { return woken() > 0 })
	if err := monitor.Open().Err(); err != nil {
		t.Errorf("still down: %v", err)
	}
}

func TestAChangeOfTheStoreWakesPurgesThatAreNotFinished(t *testing.T) {
	monitor, _ := monitorOf(t, &scriptedStore{}, true)
	waiting, done := purgeOf(v1.InvalidationTarget{All: true}), purgeOf(v1.InvalidationTarget{All: true})
	waiting.Namespace, waiting.Name = "shop", "waiting"
	done.Namespace, done.Name = "shop", "done"
	done.Status.Conditions = []metav1.Condition{{Type: v1.ConditionComplete, Status: metav1.ConditionTrue}}
	monitor.Reader = fakeCache(t, waiting, done)

	var told sync.WaitGroup
	told.Go(func() { monitor.wakeAll(t.Context()) })
	if woken := (<-monitor.invalidations).Object.name; woken.Name != "waiting" {
		t.Errorf("woke %s", woken)
	}
	told.Wait() // it would wait for ever to wake another
}

func TestSweepWakesWhatIsInForceOnly(t *testing.T) {
	inForceNow := func(change func(*v1.CachePolicy)) v1.CachePolicy {
		policy := usersPolicy()
		policy.Generation, policy.Status.ObservedGeneration, policy.Status.AppliedHash = 3, 3, "h"
		change(policy)
		return *policy
	}
	tests := []struct {
		name   string
		policy v1.CachePolicy
		want   int
	}{
		{"in force", inForceNow(func(*v1.CachePolicy) {}), 1},
		{"suspended", inForceNow(func(p *v1.CachePolicy) { p.Spec.Suspend = true }), 0},
		{"changed, on its way", inForceNow(func(p *v1.CachePolicy) { p.Generation = 4 }), 0},
		{"another governs", inForceNow(func(p *v1.CachePolicy) { p.Status.AppliedHash = "" }), 0},
		{"refused", inForceNow(func(p *v1.CachePolicy) {
			p.Status.Conditions = []metav1.Condition{{Type: v1.ConditionStalled, Status: metav1.ConditionTrue}}
		}), 0},
		{"being deleted", inForceNow(func(p *v1.CachePolicy) { p.DeletionTimestamp = new(metav1.Now()) }), 0},
	}
	for _, test := range tests {
		if got := len(inForce([]v1.CachePolicy{test.policy})); got != test.want {
			t.Errorf("%s: %d; want %d", test.name, got, test.want)
		}
	}
}
