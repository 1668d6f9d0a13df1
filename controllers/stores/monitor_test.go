// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

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

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/metrics"
	"github.com/cachewright/cachewright/controllers/internal/queue"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/registry"
)

// monitorOf returns a monitor of a store with one policy, which is in force, in its cache. What it
// wakes is counted.
func monitorOf(t *testing.T, store *controllertest.ScriptedStore, leads bool) (monitor *Monitor, woken func() int) {
	t.Helper()
	policy := controllertest.UsersPolicy()
	policy.Namespace = "shop"
	policy.Status.AppliedHash = "h"
	elected := make(chan struct{})
	if leads {
		close(elected)
	}
	monitor = newMonitor(resource.DefaultStore, givenStore{store: store, location: status.Location{Address: "r:6379"}}, Deps{
		Reader: controllertest.FakeCache(t, policy), Metrics: metrics.New(stats.NewSnapshot()), Snapshot: stats.NewSnapshot(), Clock: clocktesting.NewFakeClock(time.Now()), Log: logr.Discard(),
		Interval: 5 * time.Second, StatsInterval: time.Minute, RenewInterval: time.Minute, Elected: elected,
		Queues: queue.NewSet(),
	})

	var mu sync.Mutex
	count := 0
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() {
		for {
			select {
			case <-monitor.Queues.Policies:
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

func TestMonitorReportsWhatConcernsEveryResource(t *testing.T) {
	store := &controllertest.ScriptedStore{}
	monitor, _ := monitorOf(t, store, true)
	steps := []struct {
		name    string
		health  registry.Health
		err     error
		changed bool
	}{
		{"the first probe: all are reconciled anyway", controllertest.Healthy("a"), nil, false},
		{"nothing new", controllertest.Healthy("a"), nil, false},
		{"lost", registry.Health{}, controllertest.ErrDown, true},
		{"still lost", registry.Health{}, controllertest.ErrLost, false},
		{"now it refuses us", registry.Health{}, controllertest.ErrPassword, true},
		{"back", controllertest.Healthy("a"), nil, true},
		{"restarted between two probes", controllertest.Healthy("b"), nil, true},
		{"a primary more", controllertest.Healthy("b", "c"), nil, true},
		{"nothing new", controllertest.Healthy("b", "c"), nil, false},
	}
	for _, step := range steps {
		if changed := monitor.record(ProbeResult{Health: step.health, Err: step.err}); changed != step.changed {
			t.Errorf("%s: concerns every resource: %t; want %t", step.name, changed, step.changed)
		}
	}
}

func TestMonitorKeepsTheFirstWordsForTheSameTrouble(t *testing.T) {
	monitor, _ := monitorOf(t, &controllertest.ScriptedStore{}, true)
	monitor.record(ProbeResult{Err: controllertest.ErrDown})
	monitor.record(ProbeResult{Err: controllertest.ErrLost})
	if err := monitor.Open().Err(); !errors.Is(err, controllertest.ErrDown) {
		t.Errorf("says %v; want %v", err, controllertest.ErrDown)
	}
}

func TestOnlyTheLeaderWrites(t *testing.T) {
	for _, leads := range []bool{true, false} {
		store := &controllertest.ScriptedStore{Health: registry.Health{Version: "7.0.15", RunIDs: []string{"a"}}}
		monitor, _ := monitorOf(t, store, leads)
		if err := monitor.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		if wrote := store.Installs+store.Writes > 0; wrote != leads {
			t.Errorf("leads: %t; wrote: %t", leads, wrote)
		}
		if err := monitor.Ready(nil); err != nil {
			t.Errorf("leads: %t; not ready: %v", leads, err)
		}
	}
}

func TestReadinessSaysWhatIsWrong(t *testing.T) {
	monitor, _ := monitorOf(t, &controllertest.ScriptedStore{}, false)
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
	monitor.record(ProbeResult{Err: controllertest.ErrPassword})
	want("WRONGPASS", "REDIS_PASSWORD")
	monitor.record(ProbeResult{Err: controllertest.ErrDown})
	want("connection refused", "REDIS_HOST")
	monitor.record(ProbeResult{Health: controllertest.Healthy("a")})
	if err := monitor.Ready(nil); err != nil {
		t.Errorf("not ready: %v", err)
	}
}

func TestMonitorLogsTransitionsOnly(t *testing.T) {
	monitor, _ := monitorOf(t, &controllertest.ScriptedStore{}, true)
	var lines []string
	monitor.Log = funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{})
	for range 5 {
		monitor.record(ProbeResult{Err: controllertest.ErrDown})
	}
	for range 5 {
		monitor.record(ProbeResult{Health: controllertest.Healthy("a")})
	}
	if len(lines) != 2 {
		t.Errorf("logged %d times: %q", len(lines), lines)
	}
}

// No resource stands for the operator's own Redis: what endangers its users is shown by a metric and
// in the log.
func TestMonitorReportsWhatPutsTheStoreAtRisk(t *testing.T) {
	monitor, _ := monitorOf(t, &controllertest.ScriptedStore{}, true)
	var lines []string
	monitor.Log = funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{})
	full, old := controllertest.Healthy("a"), controllertest.Healthy("a")
	full.Primaries = []registry.Primary{{Addr: "r:6379", EvictionPolicy: "noeviction", UsedMemory: 100, MaxMemory: 100}}
	old.Primaries = []registry.Primary{{Addr: "r:6379", AppendOnly: true}}
	for _, step := range []struct {
		name    string
		finding ProbeResult
		reason  string // empty: no danger
		logged  string
	}{
		{"well", ProbeResult{Health: controllertest.Healthy("a")}, "", "Redis can be used"},
		{"full", ProbeResult{Health: full}, v1.ReasonMemoryFull, "raise maxmemory"},
		{"full still", ProbeResult{Health: full}, v1.ReasonMemoryFull, ""},
		{"down, nothing is known", ProbeResult{Err: controllertest.ErrDown}, v1.ReasonMemoryFull, "cannot be used"},
		{"another danger", ProbeResult{Health: old}, v1.ReasonRestoresOldState, "append-only file"},
		{"well again", ProbeResult{Health: controllertest.Healthy("a")}, "", "no longer at risk"},
		{"well still", ProbeResult{Health: controllertest.Healthy("a")}, "", ""},
	} {
		lines = nil
		monitor.record(step.finding)
		if logged := strings.Join(lines, "\n"); !strings.Contains(logged, step.logged) || (logged == "") != (step.logged == "") {
			t.Errorf("%s: logged %q; want %q", step.name, logged, step.logged)
		}
		risks := risksIn(t, monitor.Metrics)
		for _, reason := range convert.RiskReasons {
			if at, found := risks[reason]; !found || at != (reason == step.reason) {
				t.Errorf("%s: %s is there: %t, and true: %t", step.name, reason, found, at)
			}
		}
	}
	monitor.drop()
	if left := risksIn(t, monitor.Metrics); len(left) > 0 {
		t.Errorf("of a store that is no more, %v are left", left)
	}
}

// risksIn reads cachewright_store_at_risk of the only store there is, by reason.
func risksIn(t *testing.T, series *metrics.Metrics) map[string]bool {
	t.Helper()
	gathered := prometheus.NewRegistry()
	gathered.MustRegister(series)
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

// The store is probed at growing intervals while it is down, and resources are woken when it is
// back.
func TestMonitorBacksOffAndRecovers(t *testing.T) {
	store := &controllertest.ScriptedStore{}
	store.Answer(registry.Health{}, controllertest.ErrDown)
	monitor, woken := monitorOf(t, store, true)
	clock := monitor.Clock.(*clocktesting.FakeClock)
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { monitor.run(ctx) })
	defer done.Wait()
	defer cancel()
	checks := store.Checked
	controllertest.WaitFor(t, "it did not settle down to wait", func() bool { return checks() >= 1 && clock.HasWaiters() })

	// 1s, 2s, 4s, 8s, 16s, 30s, each with a fifth of jitter: within 61s there are 5 probes at most.
	before := checks()
	for range 61 {
		controllertest.WaitFor(t, "nobody waits", clock.HasWaiters)
		clock.Step(time.Second)
	}
	controllertest.WaitFor(t, "nobody waits", clock.HasWaiters)
	if probes := checks() - before; probes < 3 || probes > 6 {
		t.Errorf("probed %d times in a minute; want 3 to 6", probes)
	}

	store.Answer(controllertest.Healthy("a"), nil)
	clock.Step(36 * time.Second)
	controllertest.WaitFor(t, "nothing was woken", func() bool { return woken() > 0 })
	if err := monitor.Open().Err(); err != nil {
		t.Errorf("still down: %v", err)
	}
}

func TestAChangeOfTheStoreWakesPurgesThatAreNotFinished(t *testing.T) {
	monitor, _ := monitorOf(t, &controllertest.ScriptedStore{}, true)
	waiting, done := controllertest.Invalidation(v1.InvalidationTarget{All: true}), controllertest.Invalidation(v1.InvalidationTarget{All: true})
	waiting.Namespace, waiting.Name = "shop", "waiting"
	done.Namespace, done.Name = "shop", "done"
	done.Status.Conditions = []metav1.Condition{{Type: v1.ConditionComplete, Status: metav1.ConditionTrue}}
	monitor.waker.Referrers.Reader = controllertest.FakeCache(t, waiting, done)

	var woken sync.WaitGroup
	woken.Go(func() { monitor.waker.wakeAll(t.Context()) })
	if woken := (<-monitor.Queues.Invalidations).Object.Name; woken.Name != "waiting" {
		t.Errorf("woke %s", woken)
	}
	woken.Wait() // it would block if it woke another
}
