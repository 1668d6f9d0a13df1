// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
)

func TestAnySummaryKeepsTheRulesOfKstatus(t *testing.T) {
	summaries := rapid.SampledFrom([]Summary{
		{Ready: true, Reason: "Applied", Message: "m"},
		{Progress: Reconciling, Reason: "StoreUnreachable", Message: "m"},
		{Progress: Stalled, Reason: "Conflicted", Message: "m"},
	})
	rapid.Check(t, func(t *rapid.T) {
		policy := &v1.CachePolicy{}
		for generation := range int64(rapid.IntRange(1, 5).Draw(t, "generations")) {
			policy.Generation, policy.Status.ObservedGeneration = generation, generation
			before := policy.DeepCopy()
			summaries.Draw(t, "summary").Write(&policy.Status.Conditions, generation, time.Unix(generation, 0))
			broken := controllertest.Violations(policy)
			if before.Status.Conditions != nil {
				broken = append(broken, controllertest.TransitionViolations(before, policy)...)
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
		if broken := controllertest.Violations(policy); !slices.Equal(broken, []string{rule}) {
			t.Errorf("found %q; want %q", broken, rule)
		}
	}
}
