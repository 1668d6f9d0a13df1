// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"fmt"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

func TestPolicyOf(t *testing.T) {
	spec := &v1.CachePolicySpec{
		Module: "users", Revision: "42", DefaultTTL: &metav1.Duration{Duration: 5 * time.Minute},
		Operations: []v1.OperationPolicy{
			{Name: "profile", TTL: metav1.Duration{Duration: 10 * time.Minute}, Scope: v1.ScopeUser, MaxEntryBytes: new(int64(65536)), LocalTTL: &metav1.Duration{}},
			{
				Name: "list", TTL: metav1.Duration{Duration: 180 * time.Second}, JitterPercent: 10, Scope: v1.ScopeAny,
				StaleFor: &metav1.Duration{Duration: 30 * time.Second}, NegativeTTL: &metav1.Duration{Duration: 10 * time.Second},
			},
		},
	}
	got := Policy(spec)
	local := got.Operations[1].LocalTTL
	if local == nil || *local != 0 {
		t.Errorf("localTTL of 0s: %v", local)
	}
	got.Operations[1].LocalTTL = nil
	want := []registry.OperationPolicy{
		{Name: "list", TTL: 3 * time.Minute, StaleFor: 30 * time.Second, NegativeTTL: 10 * time.Second, JitterPercent: 10},
		{Name: "profile", TTL: 10 * time.Minute, Scope: registry.ScopeUser, MaxEntryBytes: 65536},
	}
	if got.Revision != "42" || *got.DefaultTTL != 5*time.Minute || !slices.Equal(got.Operations, want) {
		t.Errorf("got %+v", got)
	}
}

// Otherwise each policy would be put in force again when the operator is upgraded.
func TestAPolicyWithoutSourceLagKeepsItsHash(t *testing.T) {
	const before = "cccf60bc746f9e59d01a1552622960f64fa023ad"
	spec := &v1.CachePolicySpec{
		Module: "users", Revision: "42", DefaultTTL: &metav1.Duration{Duration: 5 * time.Minute},
		Operations: []v1.OperationPolicy{{Name: "list", TTL: metav1.Duration{Duration: 3 * time.Minute}, JitterPercent: 10}},
	}
	if got := Policy(spec).Hash(); got != before {
		t.Errorf("the hash is %s, was %s before there was a source lag", got, before)
	}
	if spec.SourceLag = (&metav1.Duration{}); Policy(spec).Hash() != before {
		t.Error("a lag of 0s, the default, is pushed")
	}
}

func TestSourceLagIsOfThePolicyUnlessTheOperationHasItsOwn(t *testing.T) {
	got := Policy(&v1.CachePolicySpec{
		SourceLag: &metav1.Duration{Duration: 2 * time.Second},
		Operations: []v1.OperationPolicy{
			{Name: "a", SourceLag: &metav1.Duration{}}, {Name: "b"}, {Name: "c", SourceLag: &metav1.Duration{Duration: time.Minute}},
		},
	})
	if got.SourceLag != 2*time.Second {
		t.Errorf("the policy lags %s, want 2s", got.SourceLag)
	}
	want := []*time.Duration{new(time.Duration(0)), nil, new(time.Minute)}
	for i, operation := range got.Operations {
		if lag := operation.SourceLag; (lag == nil) != (want[i] == nil) || lag != nil && *lag != *want[i] {
			t.Errorf("operation %s lags %v, want %v", operation.Name, lag, want[i])
		}
	}
}

func TestTheOrderOfOperationsChangesNoHash(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		operations := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) v1.OperationPolicy {
			return v1.OperationPolicy{
				Name: rapid.StringMatching("[a-z]{1,4}").Draw(t, "name"), TTL: metav1.Duration{Duration: time.Duration(rapid.IntRange(0, 9).Draw(t, "ttl")) * time.Minute},
			}
		}), 0, 8, func(o v1.OperationPolicy) string { return o.Name }).Draw(t, "operations")
		shuffled := rapid.Permutation(operations).Draw(t, "shuffled")
		one, other := Policy(&v1.CachePolicySpec{Operations: operations}), Policy(&v1.CachePolicySpec{Operations: shuffled})
		if one.Hash() != other.Hash() {
			t.Fatalf("%+v and %+v differ", one, other)
		}
	})
}

func TestModeOf(t *testing.T) {
	for spec, want := range map[*v1.CacheInvalidationSpec]registry.Mode{
		{Mode: v1.ModeHard}:               registry.ModeHard,
		{Mode: v1.ModeSoft}:               registry.ModeSoft,
		{Mode: v1.ModeSoft, DryRun: true}: registry.ModeDry,
	} {
		if got := Mode(*spec); got != want {
			t.Errorf("%+v: got %s, want %s", spec, got, want)
		}
	}
}

func TestHitRatio(t *testing.T) {
	for _, test := range []struct {
		hits, misses int64
		want         string
	}{
		{0, 0, ""}, {0, 3, "0.0%"}, {931, 69, "93.1%"}, {5, 0, "100.0%"}, {1, 2, "33.3%"},
	} {
		if got := hitRatio(test.hits, test.misses); got != test.want {
			t.Errorf("%d hits, %d misses: %q; want %q", test.hits, test.misses, got, test.want)
		}
	}
}

func TestSnapshotShowsTheBusiestOperations(t *testing.T) {
	operations := map[string]registry.OperationStats{"\xff\xfe": {Hits: 1000}}
	for i := range 300 {
		operations[fmt.Sprintf("op-%03d", i)] = registry.OperationStats{Hits: int64(i), Misses: 1, Fenced: 2}
	}
	snapshot := Stats(registry.Stats{Keys: 9, Pending: 3, Operations: operations}, time.Now())

	if len(snapshot.Operations) != MaxOperations {
		t.Fatalf("%d operations; want %d", len(snapshot.Operations), MaxOperations)
	}
	if first, last := snapshot.Operations[0], snapshot.Operations[len(snapshot.Operations)-1]; first.Name != "op-044" || last.Name != "op-299" {
		t.Errorf("from %s to %s; want the 256 with most reads, by name", first.Name, last.Name)
	}
	if stale := Stats(registry.Stats{Operations: map[string]registry.OperationStats{"list": {Hits: 1, Stale: 2, Misses: 1}}}, time.Now()); stale.HitRatio != "75.0%" || stale.Operations[0].StaleHits != 2 {
		t.Errorf("stale hits are hits: %+v", stale)
	}
	if snapshot.Hits != 1000+299*300/2 || snapshot.Misses != 300 || snapshot.PendingKeys != 3 || snapshot.Keys != 9 {
		t.Errorf("sums are of all: %+v", snapshot)
	}
	if snapshot.Operations[0].FencedFills != 2 {
		t.Errorf("%+v", snapshot.Operations[0])
	}
}
