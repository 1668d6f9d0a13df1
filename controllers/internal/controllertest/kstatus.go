// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllertest

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/resource"
)

// Conditioned is what the rules of kstatus speak of.
type Conditioned struct {
	Generation         int64
	ObservedGeneration int64
	Conditions         []metav1.Condition
}

// ConditionedOf returns what the rules of kstatus speak of.
func ConditionedOf(obj client.Object) Conditioned {
	switch o := obj.(type) {
	case *v1.CachePolicy:
		return Conditioned{o.Generation, o.Status.ObservedGeneration, o.Status.Conditions}
	case *v1.CacheInvalidation:
		return Conditioned{o.Generation, o.Status.ObservedGeneration, o.Status.Conditions}
	case *v1.CacheStore:
		return Conditioned{o.Generation, o.Status.ObservedGeneration, o.Status.Conditions}
	default:
		panic(fmt.Sprintf("no rules for a %T", obj))
	}
}

// Violations lists the rules that one version of an object breaks.
func Violations(obj client.Object) []string {
	broken := violationsOfAny(ConditionedOf(obj))
	if invalidation, ok := obj.(*v1.CacheInvalidation); ok {
		broken = append(broken, violationsOfInvalidation(invalidation)...)
	}
	return broken
}

func violationsOfAny(c Conditioned) []string {
	var broken []string
	violated := func(is bool, rule string) {
		if is {
			broken = append(broken, rule)
		}
	}
	if c.ObservedGeneration == -1 {
		violated(len(c.Conditions) > 0, "an object that was not observed has no conditions")
		return broken
	}
	violated(c.ObservedGeneration > c.Generation, "what is not there yet is not observed")
	for _, condition := range c.Conditions {
		violated(condition.ObservedGeneration != c.ObservedGeneration,
			condition.Type+" speaks of the generation that status speaks of")
		violated(condition.Reason == "" || condition.Message == "",
			condition.Type+" has a reason and a message")
		onlyTrue := []string{
			v1.ConditionReconciling, v1.ConditionStalled, v1.ConditionComplete, v1.ConditionFailed,
			v1.ConditionAtRisk,
		}
		violated(slices.Contains(onlyTrue, condition.Type) && condition.Status != metav1.ConditionTrue,
			condition.Type+" is there only while it is True")
	}
	ready := meta.FindStatusCondition(c.Conditions, v1.ConditionReady)
	if ready == nil {
		return append(broken, "Ready is always there")
	}
	working := meta.IsStatusConditionTrue(c.Conditions, v1.ConditionReconciling)
	stalled := meta.IsStatusConditionTrue(c.Conditions, v1.ConditionStalled)
	violated(working && stalled, "Reconciling and Stalled exclude each other")
	violated(ready.Status == metav1.ConditionTrue && (working || stalled),
		"what is Ready is neither Reconciling nor Stalled")
	violated(ready.Status != metav1.ConditionTrue && !working && !stalled,
		"what is not Ready is Reconciling or Stalled")
	return broken
}

func violationsOfInvalidation(invalidation *v1.CacheInvalidation) []string {
	var broken []string
	violated := func(is bool, rule string) {
		if is {
			broken = append(broken, rule)
		}
	}
	s := invalidation.Status
	complete := meta.IsStatusConditionTrue(s.Conditions, v1.ConditionComplete)
	failed := meta.IsStatusConditionTrue(s.Conditions, v1.ConditionFailed)
	violated(complete && failed, "Complete and Failed exclude each other")
	violated(s.State != v1.StateHolding &&
		complete != meta.IsStatusConditionTrue(s.Conditions, v1.ConditionReady),
		"Complete and Ready agree, but where it holds")
	violated(s.State == v1.StateHolding && (s.HoldEndTime == nil || s.Ends == ""),
		"what holds says until when")
	violated(complete != (s.State == v1.StateComplete || s.State == v1.StateCounted),
		"Complete and state agree")
	violated(failed != (s.State == v1.StateFailed), "Failed and state agree")
	violated(failed && !meta.IsStatusConditionTrue(s.Conditions, v1.ConditionStalled),
		"what is Failed is Stalled")
	violated((complete || failed) != (s.CompletionTime != nil),
		"what is finished has a completionTime")
	violated(s.KeysReclaimed != nil && *s.KeysReclaimed > *s.KeysInvalidated,
		"no more is reclaimed than was invalidated")
	violated(s.State == v1.StateReclaiming && s.EffectiveTime == nil,
		"what is being reclaimed is in effect")
	return broken
}

// TransitionViolations lists the rules that a change from one version of an object to the next
// breaks.
func TransitionViolations(before, after client.Object) []string {
	var broken []string
	was, is := ConditionedOf(before), ConditionedOf(after)
	if is.ObservedGeneration < was.ObservedGeneration {
		broken = append(broken, "observedGeneration never falls")
	}
	for _, condition := range is.Conditions {
		old := meta.FindStatusCondition(was.Conditions, condition.Type)
		if old != nil && old.Status == condition.Status &&
			!old.LastTransitionTime.Equal(&condition.LastTransitionTime) {
			broken = append(broken, "lastTransitionTime of "+condition.Type+" changes with its status only")
		}
	}
	if invalidation, ok := before.(*v1.CacheInvalidation); ok {
		broken = append(broken,
			invalidationTransitionViolations(invalidation, after.(*v1.CacheInvalidation))...)
	}
	return broken
}

func invalidationTransitionViolations(before, after *v1.CacheInvalidation) []string {
	var broken []string
	if resource.IsFinished(before) && !equality.Semantic.DeepEqual(before.Status, after.Status) {
		broken = append(broken, "the status of what is finished does not change")
	}
	if before.Status.KeysReclaimed != nil &&
		*after.Status.KeysReclaimed < *before.Status.KeysReclaimed {
		broken = append(broken, "keysReclaimed never falls")
	}
	if before.Status.EffectiveTime != nil &&
		!before.Status.EffectiveTime.Equal(after.Status.EffectiveTime) {
		broken = append(broken, "an invalidation takes effect once")
	}
	return broken
}
