// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheinvalidation

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/cacheinvalidation/targets"
	"github.com/cachewright/cachewright/controllers/internal/status"
)

// findings is what the steps of a reconcile found out about a CacheInvalidation.
type findings struct {
	// began is when this reconcile began.
	began time.Time
	// late: the deadline has passed.
	late bool
	// more: the turn was over before all targets were tried. Status stays until then.
	more bool
	// results of all targets, in order; empty ones are not known yet.
	results []v1.TargetResult
	// refused is the number of targets that the function library refused.
	refused int
	// effective is when all targets took effect, were counted or were refused; zero: not in this
	// reconcile.
	effective time.Time
	// holdUntil is when the hold that began in this reconcile ends; zero: none began.
	holdUntil time.Time
	// holdsLost is the number of marks that this reconcile found to be gone, and put back.
	holdsLost int64
	// pending is how many keys of the slots were yet to be reclaimed; nil: not read.
	pending *int64
	// met is the error that ended the reconcile, if one did.
	met *status.ClassifiedError
}

// statusOf turns findings into status.
func statusOf(
	invalidation *v1.CacheInvalidation, found findings, now time.Time,
) v1.CacheInvalidationStatus {
	next := *invalidation.Status.DeepCopy()
	next.ObservedGeneration = invalidation.Generation
	next.TargetSummary = targets.Summarize(invalidation.Spec.Targets)
	if next.StartTime == nil {
		next.StartTime = &metav1.Time{Time: found.began}
	}
	if !found.effective.IsZero() || slices.ContainsFunc(found.results, isKnown) {
		next.Targets = found.results
		next.KeysInvalidated = new(invalidatedBy(found.results))
	}
	if !found.effective.IsZero() && !invalidation.Spec.DryRun &&
		found.refused < len(invalidation.Spec.Targets) {
		next.EffectiveTime = &metav1.MicroTime{Time: found.effective}
		next.Duration = humanDuration(
			leastDuration(invalidation.CreationTimestamp.Time, found.began, found.effective))
	}
	if !found.holdUntil.IsZero() {
		next.HoldEndTime = &metav1.Time{Time: found.holdUntil}
	}
	next.HoldsLost += found.holdsLost
	// what is stale is there still
	if next.EffectiveTime != nil && invalidation.Spec.Mode != v1.ModeSoft {
		next.KeysReclaimed = new(reclaimedSoFar(next, found.pending))
	}
	next.State = stateOf(invalidation, next, found, now)
	next.Ends = ""
	if next.State == v1.StateHolding {
		next.Ends = humanRemaining(next.HoldEndTime.Sub(now))
	}
	summarize(invalidation, next, found).Write(&next.Conditions, invalidation.Generation, now)
	setCompletion(&next, invalidation.Generation, now)
	return next
}

// stateOf decides which state the findings amount to.
func stateOf(
	invalidation *v1.CacheInvalidation, next v1.CacheInvalidationStatus, found findings, now time.Time,
) v1.InvalidationState {
	switch {
	case found.refused > 0 && !found.effective.IsZero():
		return v1.StateFailed
	case invalidation.Spec.DryRun && !found.effective.IsZero():
		return v1.StateCounted
	case next.EffectiveTime != nil:
		return stateInEffect(next, found, now)
	case found.late:
		return v1.StateFailed
	default:
		return v1.StatePending
	}
}

// stateInEffect decides what is left to do for an invalidation in effect.
func stateInEffect(
	next v1.CacheInvalidationStatus, found findings, now time.Time,
) v1.InvalidationState {
	switch {
	case isHeld(next, now):
		return v1.StateHolding
	case found.met != nil && found.late:
		return v1.StateComplete
	case found.met != nil || pendingOf(next, found.pending) > 0:
		return v1.StateReclaiming
	default:
		return v1.StateComplete
	}
}

// isHeld reports whether a hold has begun, and not ended.
func isHeld(next v1.CacheInvalidationStatus, now time.Time) bool {
	return next.HoldEndTime != nil && now.Before(next.HoldEndTime.Time)
}

// pendingOf returns how many keys are yet to be reclaimed; before that was read, those that the
// targets left.
func pendingOf(next v1.CacheInvalidationStatus, read *int64) int64 {
	if read != nil {
		return *read
	}
	var left int64
	for _, target := range next.Targets {
		left += target.KeysPending
	}
	return left
}

// reclaimedSoFar never falls: what is pending in a slot may be of other invalidations, too.
func reclaimedSoFar(next v1.CacheInvalidationStatus, read *int64) int64 {
	var before, invalidated int64
	if next.KeysReclaimed != nil {
		before = *next.KeysReclaimed
	}
	if next.KeysInvalidated != nil {
		invalidated = *next.KeysInvalidated
	}
	own := min(pendingOf(next, read), pendingOf(next, nil))
	return max(before, invalidated-own)
}

func invalidatedBy(results []v1.TargetResult) int64 {
	var keys int64
	for _, result := range results {
		keys += result.KeysInvalidated
	}
	return keys
}

// setCompletion sets Complete or Failed, which say what Ready says.
func setCompletion(next *v1.CacheInvalidationStatus, generation int64, now time.Time) {
	var conditionType string
	switch next.State {
	case v1.StateComplete, v1.StateCounted:
		conditionType = v1.ConditionComplete
	case v1.StateFailed:
		conditionType = v1.ConditionFailed
	default:
		return
	}
	ready := status.Ready(next.Conditions)
	s := status.Summary{Ready: true, Reason: ready.Reason, Message: ready.Message}
	s.WriteAs(conditionType, &next.Conditions, generation, now)
	next.CompletionTime = &metav1.Time{Time: now}
}

// leastDuration returns how long an invalidation took at least, from creation until it was in
// effect. The API server cuts the time of creation to whole seconds; the reconcile knows its own
// time.
func leastDuration(created, began, effective time.Time) time.Duration {
	return max(effective.Sub(began), effective.Sub(created)-time.Second, 0)
}

func humanDuration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "<1ms"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	return duration.HumanDuration(d)
}
