// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// busyStore counts more hits each time it is asked.
type busyStore struct {
	*scriptedStore
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

// crowd is a cache of so many policies that it is faster not to look for some of them.
type crowd struct {
	client.Client
	policies []v1.CachePolicy
}

func (c crowd) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	if policies, ok := list.(*v1.CachePolicyList); ok {
		policies.Items = c.policies
	}
	return nil
}

// However many policies there are, under traffic on all of them so many statuses a second are written and no more; each has its
// turn.
func TestFiguresAreShownAtAPace(t *testing.T) {
	const many = 10_000
	store := &busyStore{scriptedStore: &scriptedStore{health: fine("a")}}
	clock := clocktesting.NewFakeClock(time.Now())
	monitor := newMonitor(defaultStore, givenStore{store: store}, surroundings{
		Metrics: NewMetrics(), Clock: clock, Log: logr.Discard(), StatsInterval: time.Minute, policies: make(wakeups, many),
	})
	monitor.link = &link{store: store}
	all := crowd{policies: make([]v1.CachePolicy, many)}
	places := map[string]int{}
	for i := range all.policies {
		policy := usersPolicy()
		policy.Namespace, policy.Name, policy.Spec.Module = "shop", fmt.Sprint("m", i), fmt.Sprint("m", i)
		policy.Status.AppliedHash = "h"
		all.policies[i], places[policy.Name] = *policy, i
	}
	monitor.Reader = all

	shown := map[string]int{}
	counts := 0
	want := many/(figureWrites*int(monitor.StatsInterval.Seconds())) + 1
	for ; len(shown) < many && counts <= want; counts++ {
		clock.Step(monitor.StatsInterval * 2)
		if err := monitor.count(t.Context()); err != nil {
			t.Fatal(err)
		}
		woken := len(monitor.policies)
		if most := int(figureWrites * monitor.StatsInterval.Seconds()); woken > most || woken == 0 {
			t.Fatalf("woke %d in %s, want %d at the most", woken, monitor.StatsInterval, most)
		}
		for range woken {
			told := (<-monitor.policies).Object
			if told.within < monitor.StatsInterval {
				t.Fatalf("woken within %s, not spread over %s", told.within, monitor.StatsInterval)
			}
			shown[told.name.Name]++
			all.policies[places[told.name.Name]].Status.Stats = &v1.CacheStats{ObservedTime: metav1.NewTime(clock.Now())}
		}
	}
	if counts > want {
		t.Errorf("after %d counts %d of %d had their turn, want all after %d", counts, len(shown), many, want)
	}
	if few := time.Duration(counts) * monitor.StatsInterval; few < 15*time.Minute {
		t.Errorf("%s is too little for %d policies: the test shows nothing", few, many)
	}
}
