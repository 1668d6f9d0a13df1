// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/registry"
)

// reportedNames answers for the namespaces that it knows.
type reportedNames struct {
	names  map[string][]registry.Unclaimed
	broken registry.SlotErrors
	err    error
	asked  []string
}

func (r *reportedNames) UnclaimedOf(_ context.Context, namespaces []string) ([][]registry.Unclaimed, error) {
	r.asked = append(r.asked, namespaces...)
	if r.err != nil {
		return nil, r.err
	}
	found := make([][]registry.Unclaimed, len(namespaces))
	for i, namespace := range namespaces {
		found[i] = r.names[namespace]
	}
	return found, r.broken.OrNil()
}

func policyOf(namespace, module string, operations ...string) v1.CachePolicy {
	policy := v1.CachePolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: module}, Spec: v1.CachePolicySpec{Module: module}}
	for _, name := range operations {
		policy.Spec.Operations = append(policy.Spec.Operations, v1.OperationPolicy{Name: name})
	}
	return policy
}

func newUnclaimedCollector(store resource.StoreID, policies ...v1.CachePolicy) (*UnclaimedCollector, *clocktesting.FakeClock) {
	clock := clocktesting.NewFakeClock(time.Now())
	refer := resource.Referrers{Reader: controllertest.Crowd{Policies: policies}, Store: store}
	return &UnclaimedCollector{UnclaimedConfig: UnclaimedConfig{Referrers: refer, Snapshot: NewSnapshot(), Clock: clock, Interval: time.Minute}}, clock
}

func unclaimedIn(s *Snapshot) map[string]int {
	counts := map[string]int{}
	s.EachUnclaimed(func(namespace Namespace, count int) { counts[namespace.Name] = count })
	return counts
}

var mainStore = resource.StoreID{Namespace: "shop", Name: "main"}

// A name stays in Redis for a day, so what a policy lists by now is left out.
func TestUnclaimedNamesAreThoseThatNoPolicyLists(t *testing.T) {
	withDefault, leaving := policyOf("shop", "orders"), policyOf("shop", "gone")
	withDefault.Spec.DefaultTTL = &metav1.Duration{}
	leaving.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	c, _ := newUnclaimedCollector(mainStore, policyOf("shop", "posts", "list"), withDefault, leaving, policyOf("bank", "user"))
	store := &reportedNames{names: map[string][]registry.Unclaimed{"shop": {
		{Module: "user"},
		{Module: "posts", Operation: "lst"},
		{Module: "posts", Operation: "list"},
		{Module: "posts"},
		{Module: "orders", Operation: "any"},
		{Module: "gone"},
		{Module: "nothing", Operation: "list"},
	}, "bank": {{Module: "secret"}}}}
	if err := c.Collect(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	want := []string{"gone", "nothing/list", "posts/lst", "user"}
	if last := c.Last(); last == nil || !slices.Equal(last.Names, want) {
		t.Errorf("got %+v, want %q", last, want)
	}
	if !slices.Equal(store.asked, []string{"shop"}) {
		t.Errorf("a CacheStore of shop asks for the names of %q", store.asked)
	}
	if counts := unclaimedIn(c.Snapshot); !maps.Equal(counts, map[string]int{"shop": len(want)}) {
		t.Errorf("counted %v", counts)
	}
}

// The operator's own Redis has no resource that could show names: one namespace must not see those
// of another.
func TestUnclaimedNamesOfTheOwnStoreAreOnlyCounted(t *testing.T) {
	c, clock := newUnclaimedCollector(resource.DefaultStore, policyOf("shop", "users"), policyOf("bank", "users"), policyOf("idle", "users"))
	store := &reportedNames{names: map[string][]registry.Unclaimed{"shop": {{Module: "user"}, {Module: "usr"}}, "bank": {{Module: "accounts"}}, "other": {{Module: "x"}}}}
	if err := c.Collect(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	if counts := unclaimedIn(c.Snapshot); !maps.Equal(counts, map[string]int{"shop": 2, "bank": 1}) || c.Last() != nil {
		t.Errorf("counted %v, names: %v", counts, c.Last())
	}
	delete(store.names, "bank")
	clock.Step(2 * time.Minute)
	if err := c.Collect(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	if counts := unclaimedIn(c.Snapshot); !maps.Equal(counts, map[string]int{"shop": 2}) {
		t.Errorf("then counted %v", counts)
	}
}

func TestUnclaimedNamesAreReadAtIntervals(t *testing.T) {
	c, clock := newUnclaimedCollector(mainStore)
	store := &reportedNames{}
	for range 600 {
		if err := c.Collect(t.Context(), store); err != nil {
			t.Fatal(err)
		}
		clock.Step(time.Second)
	}
	if reads := len(store.asked); reads < 9 || reads > 11 {
		t.Errorf("read %d times in ten minutes", reads)
	}
	c.Reset()
	if err := c.Collect(t.Context(), store); err != nil || c.Last() == nil {
		t.Errorf("after another connection: %v (%v)", c.Last(), err)
	}
}

// An ACL may forbid one namespace, and a store may be down.
func TestUnclaimedNamesOfOtherNamespacesAreReadBesideOneThatFails(t *testing.T) {
	c, clock := newUnclaimedCollector(resource.DefaultStore, policyOf("shop", "users"), policyOf("bank", "users"))
	store := &reportedNames{
		names:  map[string][]registry.Unclaimed{"shop": {{Module: "user"}}},
		broken: registry.SlotErrors{{Namespace: "bank"}: controllertest.ErrForbidden},
	}
	if err := c.Collect(t.Context(), store); !errors.Is(err, registry.ErrForbidden) {
		t.Errorf("got %v", err)
	}
	if counts := unclaimedIn(c.Snapshot); !maps.Equal(counts, map[string]int{"shop": 1}) {
		t.Errorf("counted %v", counts)
	}
	clock.Step(2 * time.Minute)
	store.err = controllertest.ErrDown
	if err := c.Collect(t.Context(), store); !errors.Is(err, registry.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	if counts := unclaimedIn(c.Snapshot); len(counts) != 1 {
		t.Errorf("while it is down, the last counts are gone: %v", counts)
	}
}

func TestNamesThatCannotBeReadAreNotSaidToBeNone(t *testing.T) {
	c, _ := newUnclaimedCollector(mainStore)
	store := &reportedNames{broken: registry.SlotErrors{{Namespace: "shop"}: controllertest.ErrForbidden}}
	if err := c.Collect(t.Context(), store); !errors.Is(err, registry.ErrForbidden) || c.Last() != nil {
		t.Errorf("got %v, names %v", err, c.Last())
	}
}

func TestADroppedStoreLeavesNoUnclaimedNames(t *testing.T) {
	c, clock := newUnclaimedCollector(mainStore)
	store := &reportedNames{names: map[string][]registry.Unclaimed{"shop": {{Module: "user"}}}}
	if err := c.Collect(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	c.Drop()
	clock.Step(2 * time.Minute)
	if err := c.Collect(t.Context(), store); err != nil { // it was under way
		t.Fatal(err)
	}
	if counts := unclaimedIn(c.Snapshot); len(counts) > 0 {
		t.Errorf("left %v", counts)
	}
}
