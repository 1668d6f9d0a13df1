// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

func TestAnyVerdictKeepsTheRulesOfKstatus(t *testing.T) {
	verdicts := rapid.SampledFrom([]verdict{
		{ready: true, reason: "Applied", message: "m"},
		{progress: reconciling, reason: "StoreUnreachable", message: "m"},
		{progress: stuck, reason: "Conflicted", message: "m"},
	})
	rapid.Check(t, func(t *rapid.T) {
		policy := &v1.CachePolicy{}
		for generation := range int64(rapid.IntRange(1, 5).Draw(t, "generations")) {
			policy.Generation, policy.Status.ObservedGeneration = generation, generation
			before := policy.DeepCopy()
			verdicts.Draw(t, "verdict").write(&policy.Status.Conditions, generation, time.Unix(generation, 0))
			broken := kstatusViolations(policy)
			if before.Status.Conditions != nil {
				broken = append(broken, transitionViolations(before, policy)...)
			}
			if len(broken) > 0 {
				t.Fatalf("%v: %+v", broken, policy.Status.Conditions)
			}
		}
	})
}

// A checker that finds nothing proves nothing.
func TestTheCheckerOfKstatusFindsViolations(t *testing.T) {
	condition := func(conditionType string, status metav1.ConditionStatus, observed int64) metav1.Condition {
		return metav1.Condition{Type: conditionType, Status: status, ObservedGeneration: observed, Reason: "R", Message: "m"}
	}
	const yes, no = metav1.ConditionTrue, metav1.ConditionFalse
	tests := map[string][]metav1.Condition{
		"Ready is always there":                                      {condition("Accepted", yes, 2)},
		"Ready speaks of the generation that status speaks of":       {condition("Ready", yes, 1)},
		"Stalled is there only while it is True":                     {condition("Ready", yes, 2), condition("Stalled", no, 2)},
		"Reconciling and Stalled exclude each other":                 {condition("Ready", no, 2), condition("Stalled", yes, 2), condition("Reconciling", yes, 2)},
		"what is Ready is neither Reconciling nor Stalled":           {condition("Ready", yes, 2), condition("Reconciling", yes, 2)},
		"what is not Ready is Reconciling or Stalled":                {condition("Ready", no, 2)},
		"Accepted has a reason and a message":                        {condition("Ready", yes, 2), {Type: "Accepted", Status: yes, ObservedGeneration: 2}},
		"Complete is there only while it is True":                    {condition("Ready", yes, 2), condition("Complete", no, 2)},
		"Reconciling speaks of the generation that status speaks of": {condition("Ready", no, 2), condition("Reconciling", yes, 1)},
	}
	for rule, conditions := range tests {
		policy := &v1.CachePolicy{
			ObjectMeta: metav1.ObjectMeta{Generation: 2},
			Status:     v1.CachePolicyStatus{ObservedGeneration: 2, Conditions: conditions},
		}
		if broken := kstatusViolations(policy); !slices.Equal(broken, []string{rule}) {
			t.Errorf("found %q; want %q", broken, rule)
		}
	}
}

func TestAPolicyThatCachesNothingSaysWhy(t *testing.T) {
	ttl := func(duration time.Duration) *metav1.Duration { return &metav1.Duration{Duration: duration} }
	for _, test := range []struct {
		name string
		spec v1.CachePolicySpec
		want string // empty: it caches something
	}{
		{"nothing is said", v1.CachePolicySpec{}, "it has neither a defaultTTL nor operations"},
		{"a default of 0", v1.CachePolicySpec{DefaultTTL: ttl(0)}, "its defaultTTL is 0s"},
		{"operations of 0", v1.CachePolicySpec{Operations: []v1.OperationPolicy{{Name: "list"}}}, "each ttl is 0s"},
		{"a default", v1.CachePolicySpec{DefaultTTL: ttl(time.Millisecond), Operations: []v1.OperationPolicy{{Name: "list"}}}, ""},
		{"an operation", v1.CachePolicySpec{DefaultTTL: ttl(0), Operations: []v1.OperationPolicy{{Name: "list", TTL: *ttl(time.Second)}}}, ""},
		{"what is absent", v1.CachePolicySpec{Operations: []v1.OperationPolicy{{Name: "list", NegativeTTL: ttl(time.Second)}}}, ""},
	} {
		test.spec.Module = "orders"
		v := policyVerdict(&v1.CachePolicy{Spec: test.spec}, policyFindings{hash: "h"})
		reason, message := v1.ReasonApplied, "the policy of module orders is in force"
		if test.want != "" {
			reason, message = v1.ReasonCachesNothing, message+", and caches nothing: "+test.want
		}
		if !v.ready || v.reason != reason || v.message != message {
			t.Errorf("%s: %+v; want %s: %s", test.name, v, reason, message)
		}
	}
}

func TestPolicyStatus(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	earlier := metav1.NewTime(now.Add(-time.Hour))
	shown := &v1.CacheStats{ObservedTime: earlier, Keys: 1}
	tests := []struct {
		name   string
		before v1.CachePolicyStatus
		found  policyFindings
		check  func(*testing.T, v1.CachePolicyStatus)
	}{
		{
			name:  "what another governs is not shown as one's own",
			found: policyFindings{winner: "older"},
			before: v1.CachePolicyStatus{
				AppliedHash: "h", AppliedRevision: "1", Stats: shown, LastPurgeTime: &earlier,
			},
			check: func(t *testing.T, s v1.CachePolicyStatus) {
				if s.AppliedHash != "" || s.AppliedRevision != "" || s.Stats != nil {
					t.Errorf("shows %+v", s)
				}
			},
		},
		{
			name:   "a store that is down takes nothing from what is known to be in force",
			before: v1.CachePolicyStatus{AppliedHash: "h", AppliedRevision: "1", Stats: shown},
			found:  policyFindings{fault: faultOf(errDown, place{address: "r"})},
			check: func(t *testing.T, s v1.CachePolicyStatus) {
				if s.AppliedHash != "h" || s.AppliedRevision != "1" || s.Stats == nil || s.Stats.Keys != 1 {
					t.Errorf("shows %+v", s)
				}
			},
		},
		{
			name:  "a first revision purges nothing",
			found: policyFindings{hash: "h"},
			check: func(t *testing.T, s v1.CachePolicyStatus) {
				if s.LastPurgeTime != nil || s.AppliedRevision != "2" {
					t.Errorf("shows %+v", s)
				}
			},
		},
		{
			name:   "an old purge keeps its time",
			before: v1.CachePolicyStatus{AppliedRevision: "2", LastPurgeTime: &earlier},
			found:  policyFindings{hash: "h"},
			check: func(t *testing.T, s v1.CachePolicyStatus) {
				if !s.LastPurgeTime.Equal(&earlier) {
					t.Errorf("shows %v", s.LastPurgeTime)
				}
			},
		},
		{
			name:   "deletion keeps what was accepted, and observes it",
			before: v1.CachePolicyStatus{Conditions: []metav1.Condition{{Type: v1.ConditionAccepted, Status: metav1.ConditionTrue, ObservedGeneration: 6, Reason: "Accepted", Message: "m"}}},
			found:  policyFindings{deleting: true},
			check: func(t *testing.T, s v1.CachePolicyStatus) {
				if got := how(s.Conditions, v1.ConditionAccepted); got != "True Accepted" || ready(s.Conditions) != "False Deleting" {
					t.Errorf("shows %+v", s.Conditions)
				}
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			policy := &v1.CachePolicy{
				ObjectMeta: metav1.ObjectMeta{Generation: 7}, Spec: v1.CachePolicySpec{Module: "users", Revision: "2"}, Status: test.before,
			}
			policy.Status = policyStatus(policy, test.found, now, time.Minute)
			test.check(t, policy.Status)
			if broken := kstatusViolations(policy); len(broken) > 0 || policy.Status.ObservedGeneration != 7 {
				t.Errorf("rules broken: %v", broken)
			}
		})
	}
}

func TestNextStats(t *testing.T) {
	now := time.Now()
	shown := func(age time.Duration) *v1.CacheStats {
		return &v1.CacheStats{ObservedTime: metav1.NewTime(now.Add(-age)), Keys: 5, MemoryBytes: 1000}
	}
	tests := []struct {
		name  string
		shown *v1.CacheStats
		read  *registry.Stats
		fresh bool
	}{
		{"nothing shown yet", nil, &registry.Stats{}, true},
		{"nothing read", shown(time.Hour), nil, false},
		{"changed, and it is time", shown(time.Hour), &registry.Stats{Keys: 6, MemoryBytes: 1000}, true},
		{"changed, too early", shown(time.Second), &registry.Stats{Keys: 6, MemoryBytes: 1000}, false},
		{"unchanged", shown(time.Hour), &registry.Stats{Keys: 5, MemoryBytes: 1000}, false},
		{"another estimate of the same memory", shown(time.Hour), &registry.Stats{Keys: 5, MemoryBytes: 1900}, false},
		{
			"counters of an operation", shown(time.Hour),
			&registry.Stats{Keys: 5, Operations: map[string]registry.OperationStats{"list": {Fills: 1}}}, true,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := nextStats(test.shown, test.read, now, time.Minute)
			if fresh := got != test.shown; fresh != test.fresh {
				t.Errorf("shows fresh figures: %t; want %t", fresh, test.fresh)
			}
		})
	}
}

func TestTheSamePolicyGovernsInWhateverOrderTheyAreListed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policies := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) v1.CachePolicy {
			policy := v1.CachePolicy{ObjectMeta: metav1.ObjectMeta{
				Name:              rapid.StringMatching("[a-c]{1,2}").Draw(t, "name"),
				CreationTimestamp: metav1.Unix(int64(rapid.IntRange(0, 3).Draw(t, "created")), 0),
			}}
			if rapid.Bool().Draw(t, "deleting") {
				policy.DeletionTimestamp = &metav1.Time{}
				*policy.DeletionTimestamp = metav1.Unix(9, 0)
			}
			return policy
		}), 0, 6, func(p v1.CachePolicy) string { return p.Name }).Draw(t, "policies")

		winner := governing(policies)
		shuffled := rapid.Permutation(policies).Draw(t, "shuffled")
		again := governing(shuffled)

		if (winner == nil) != (again == nil) || winner != nil && winner.Name != again.Name {
			t.Fatalf("%v governs, and then %v", winner, again)
		}
		for _, p := range policies {
			if p.DeletionTimestamp == nil && (winner == nil || p.CreationTimestamp.Before(&winner.CreationTimestamp)) {
				t.Fatalf("%s is older than the winner", p.Name)
			}
		}
		if winner != nil && winner.DeletionTimestamp != nil {
			t.Fatal("a policy that is being deleted governs")
		}
	})
}

func TestClipKeepsWithinItsLimitAndBetweenCharacters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, limit := rapid.String().Draw(t, "text"), rapid.IntRange(8, 40).Draw(t, "limit")
		got := clip(text, limit)
		if len(got) > limit || !utf8.ValidString(got) || (len(text) <= limit && got != text) {
			t.Fatalf("clip(%q, %d) = %q", text, limit, got)
		}
	})
}
