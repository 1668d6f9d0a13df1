// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/queue"
	"github.com/cachewright/cachewright/registry"
)

// busyStore counts more hits each time it is asked.
type busyStore struct {
	*controllertest.ScriptedStore
	reads int64
}

func (s *busyStore) StatsOf(_ context.Context, slots []registry.Slot) ([]registry.Stats, error) {
	s.reads++
	stats := make([]registry.Stats, len(slots))
	for i := range stats {
		stats[i].Operations = map[string]registry.OperationStats{"list": {Hits: s.reads}}
	}
	return stats, nil
}

// However many policies there are, under traffic on all of them so many statuses a second are
// written and no more; each has its turn.
func TestStatisticsArePublishedAtALimitedRate(t *testing.T) {
	const many = 10_000
	store := &busyStore{ScriptedStore: &controllertest.ScriptedStore{Health: controllertest.Healthy("a")}}
	clock := clocktesting.NewFakeClock(time.Now())
	enqueuer := make(queue.Enqueuer, many)
	collector := &Collector{CollectorConfig: CollectorConfig{
		Snapshot: NewSnapshot(), Policies: enqueuer, Clock: clock, Interval: time.Minute,
	}}
	all := controllertest.Crowd{Policies: make([]v1.CachePolicy, many)}
	places := map[string]int{}
	for i := range all.Policies {
		policy := controllertest.UsersPolicy()
		policy.Namespace, policy.Name, policy.Spec.Module = "shop", fmt.Sprint("m", i), fmt.Sprint("m", i)
		policy.Status.AppliedHash = "h"
		all.Policies[i], places[policy.Name] = *policy, i
	}
	collector.Referrers.Reader = all

	shown := map[string]int{}
	counts := 0
	want := many/(statusWrites*int(collector.Interval.Seconds())) + 1
	for ; len(shown) < many && counts <= want; counts++ {
		clock.Step(collector.Interval * 2)
		if err := collector.Collect(t.Context(), store); err != nil {
			t.Fatal(err)
		}
		woken := len(enqueuer)
		if most := int(statusWrites * collector.Interval.Seconds()); woken > most || woken == 0 {
			t.Fatalf("woke %d in %s, want %d at the most", woken, collector.Interval, most)
		}
		for range woken {
			woken := (<-enqueuer).Object
			if woken.Within < collector.Interval {
				t.Fatalf("woken within %s, not spread over %s", woken.Within, collector.Interval)
			}
			shown[woken.Name.Name]++
			all.Policies[places[woken.Name.Name]].Status.Stats = &v1.CacheStats{ObservedTime: metav1.NewTime(clock.Now())}
		}
	}
	if counts > want {
		t.Errorf("after %d counts %d of %d had their turn, want all after %d", counts, len(shown), many, want)
	}
	if few := time.Duration(counts) * collector.Interval; few < 15*time.Minute {
		t.Errorf("%s is too little for %d policies: the test shows nothing", few, many)
	}
}
