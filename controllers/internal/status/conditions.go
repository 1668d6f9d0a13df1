// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// Progress says what comes next for a resource, in the terms of kstatus; empty: nothing, until
// somebody changes it.
type Progress string

const (
	// Reconciling: the operator continues to work, or to wait.
	Reconciling Progress = v1.ConditionReconciling
	// Stalled: a person has to act.
	Stalled Progress = v1.ConditionStalled
)

// Summary sums up a reconcile.
type Summary struct {
	Ready    bool
	Progress Progress
	Reason   string
	Message  string
}

// SummaryOf sums up a reconcile that met an error.
func SummaryOf(e *ClassifiedError) Summary {
	s := Summary{Progress: Reconciling, Reason: e.Reason, Message: e.Message}
	if e.Class == ClassStalled || e.Class == ClassTerminal {
		s.Progress = Stalled
	}
	return s
}

// Write sets Ready, and keeps Reconciling and Stalled only while they are true.
func (s Summary) Write(conditions *[]metav1.Condition, generation int64, now time.Time) {
	s.WriteAs(v1.ConditionReady, conditions, generation, now)
	for _, p := range []Progress{Reconciling, Stalled} {
		if s.Progress == p {
			s.asTrue().WriteAs(string(p), conditions, generation, now)
		} else {
			meta.RemoveStatusCondition(conditions, string(p))
		}
	}
}

// asTrue returns the summary for a condition that is present because it is true.
func (s Summary) asTrue() Summary {
	s.Ready = true
	return s
}

// WriteAs sets one condition, True if the summary is ready.
func (s Summary) WriteAs(
	conditionType string, conditions *[]metav1.Condition, generation int64, now time.Time,
) {
	condition := metav1.Condition{
		Type:               conditionType,
		Status:             metav1.ConditionFalse,
		ObservedGeneration: generation,
		LastTransitionTime: metav1.NewTime(now),
		Reason:             s.Reason,
		Message:            Shown(s.Message),
	}
	if s.Ready {
		condition.Status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(conditions, condition)
}

// SetObservedGeneration notes that conditions were checked again and stay what they were.
func SetObservedGeneration(conditions []metav1.Condition, generation int64) {
	for i := range conditions {
		conditions[i].ObservedGeneration = generation
	}
}

// Ready returns the condition Ready, nil before there is one.
func Ready(conditions []metav1.Condition) *metav1.Condition {
	return meta.FindStatusCondition(conditions, v1.ConditionReady)
}

// Bounds of the time between two reconciles of a resource that waits for the store.
const (
	MinWait    = time.Second
	maxWait    = 30 * time.Second
	WaitJitter = 0.2
)

// waitAgain returns how long the resource has not been ready already. That doubles the time with
// each reconcile, and needs no memory of its own.
func waitAgain(conditions []metav1.Condition, now time.Time) time.Duration {
	waited := MinWait
	if ready := Ready(conditions); ready != nil {
		waited = min(max(now.Sub(ready.LastTransitionTime.Time), MinWait), maxWait)
	}
	return wait.Jitter(waited, WaitJitter)
}
