// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachepolicy

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/status"
)

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
		v := summarize(&v1.CachePolicy{Spec: test.spec}, findings{hash: "h"})
		reason, message := v1.ReasonApplied, "the policy of module orders is in force"
		if test.want != "" {
			reason, message = v1.ReasonCachesNothing, message+", and caches nothing: "+test.want
		}
		if !v.Ready || v.Reason != reason || v.Message != message {
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
		found  findings
		check  func(*testing.T, v1.CachePolicyStatus)
	}{
		{
			name:  "what another governs is not shown as one's own",
			found: findings{governor: "older"},
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
			found:  findings{met: status.Classify(controllertest.ErrDown, status.Location{Address: "r"})},
			check: func(t *testing.T, s v1.CachePolicyStatus) {
				if s.AppliedHash != "h" || s.AppliedRevision != "1" || s.Stats == nil || s.Stats.Keys != 1 {
					t.Errorf("shows %+v", s)
				}
			},
		},
		{
			name:  "a first revision purges nothing",
			found: findings{hash: "h"},
			check: func(t *testing.T, s v1.CachePolicyStatus) {
				if s.LastPurgeTime != nil || s.AppliedRevision != "2" {
					t.Errorf("shows %+v", s)
				}
			},
		},
		{
			name:   "an old purge keeps its time",
			before: v1.CachePolicyStatus{AppliedRevision: "2", LastPurgeTime: &earlier},
			found:  findings{hash: "h"},
			check: func(t *testing.T, s v1.CachePolicyStatus) {
				if !s.LastPurgeTime.Equal(&earlier) {
					t.Errorf("shows %v", s.LastPurgeTime)
				}
			},
		},
		{
			name:   "deletion keeps what was accepted, and observes it",
			before: v1.CachePolicyStatus{Conditions: []metav1.Condition{{Type: v1.ConditionAccepted, Status: metav1.ConditionTrue, ObservedGeneration: 6, Reason: "Accepted", Message: "m"}}},
			found:  findings{deleting: true},
			check: func(t *testing.T, s v1.CachePolicyStatus) {
				if got := controllertest.Condition(s.Conditions, v1.ConditionAccepted); got != "True Accepted" || controllertest.Ready(s.Conditions) != "False Deleting" {
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
			policy.Status = statusOf(policy, test.found, now, time.Minute)
			test.check(t, policy.Status)
			if broken := controllertest.Violations(policy); len(broken) > 0 || policy.Status.ObservedGeneration != 7 {
				t.Errorf("rules broken: %v", broken)
			}
		})
	}
}
