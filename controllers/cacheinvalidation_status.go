// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// invalidationFindings is what the steps of a reconcile found out about a CacheInvalidation.
type invalidationFindings struct {
	// began is when this reconcile began.
	began time.Time
	// late: the deadline has passed.
	late bool
	// more: the turn was over before all targets were tried. Nothing is to be said yet.
	more bool
	// results of all targets, in order; those of which nothing is known yet are empty.
	results []v1.TargetResult
	// refused is the number of targets that the function library refused.
	refused int
	// effective is when all targets were tried, and took effect, were counted or were refused; zero: not in this reconcile.
	effective time.Time
	// pending is how many keys of the slots were yet to be reclaimed; nil: not looked.
	pending *int64
	// fault that ended the reconcile, if one did.
	fault *fault
}

// invalidationStatus turns findings into status.
func invalidationStatus(
	invalidation *v1.CacheInvalidation, found invalidationFindings, now time.Time,
) v1.CacheInvalidationStatus {
	status := *invalidation.Status.DeepCopy()
	status.ObservedGeneration = invalidation.Generation
	status.TargetSummary = summarizeTargets(invalidation.Spec.Targets)
	if status.StartTime == nil {
		status.StartTime = &metav1.Time{Time: found.began}
	}
	if !found.effective.IsZero() || slices.ContainsFunc(found.results, isKnown) {
		status.Targets = found.results
		status.KeysInvalidated = new(invalidatedBy(found.results))
	}
	if !found.effective.IsZero() && !invalidation.Spec.DryRun && found.refused < len(invalidation.Spec.Targets) {
		status.EffectiveTime = &metav1.MicroTime{Time: found.effective}
		status.Duration = humanDuration(leastDuration(invalidation.CreationTimestamp.Time, found.began, found.effective))
	}
	if status.EffectiveTime != nil && invalidation.Spec.Mode != v1.ModeSoft { // what is stale is there still
		status.KeysReclaimed = new(reclaimedSoFar(status, found.pending))
	}
	status.State = stateOf(invalidation, status, found)
	invalidationVerdict(invalidation, status, found).write(&status.Conditions, invalidation.Generation, now)
	finish(&status, invalidation.Generation, now)
	return status
}

// stateOf decides which state the findings amount to.
func stateOf(
	invalidation *v1.CacheInvalidation, status v1.CacheInvalidationStatus, found invalidationFindings,
) v1.InvalidationState {
	counted := invalidation.Spec.DryRun && !found.effective.IsZero()
	inEffect := status.EffectiveTime != nil
	switch {
	case found.refused > 0 && !found.effective.IsZero():
		return v1.StateFailed
	case counted:
		return v1.StateCounted
	case inEffect && found.fault != nil && found.late:
		return v1.StateComplete
	case inEffect && (found.fault != nil || pendingOf(status, found.pending) > 0):
		return v1.StateReclaiming
	case inEffect:
		return v1.StateComplete
	case found.late:
		return v1.StateFailed
	default:
		return v1.StatePending
	}
}

// pendingOf returns how many keys are yet to be reclaimed; before anybody looked, those the
// targets left.
func pendingOf(status v1.CacheInvalidationStatus, looked *int64) int64 {
	if looked != nil {
		return *looked
	}
	var left int64
	for _, target := range status.Targets {
		left += target.KeysPending
	}
	return left
}

// reclaimedSoFar never falls: what is pending in a slot may be of other purges, too.
func reclaimedSoFar(status v1.CacheInvalidationStatus, looked *int64) int64 {
	var before, invalidated int64
	if status.KeysReclaimed != nil {
		before = *status.KeysReclaimed
	}
	if status.KeysInvalidated != nil {
		invalidated = *status.KeysInvalidated
	}
	own := min(pendingOf(status, looked), pendingOf(status, nil))
	return max(before, invalidated-own)
}

func invalidatedBy(results []v1.TargetResult) int64 {
	var keys int64
	for _, result := range results {
		keys += result.KeysInvalidated
	}
	return keys
}

func invalidationVerdict(
	invalidation *v1.CacheInvalidation, status v1.CacheInvalidationStatus, found invalidationFindings,
) verdict {
	switch status.State {
	case v1.StateFailed:
		return failure(invalidation, found)
	case v1.StateComplete, v1.StateCounted:
		return completion(invalidation, status, found)
	case v1.StateReclaiming:
		return reclaiming(status, found)
	default:
		return verdictOf(found.fault)
	}
}

func failure(invalidation *v1.CacheInvalidation, found invalidationFindings) verdict {
	if found.refused > 0 && !found.effective.IsZero() {
		return verdict{
			progress: stuck, reason: v1.ReasonRejected,
			message: fmt.Sprintf("%d of %d targets were refused by the function library in Redis: status.targets says why, "+
				"and what became of the others", found.refused, len(invalidation.Spec.Targets)),
		}
	}
	message := fmt.Sprintf("given up: not known to be in effect %d seconds after creation (spec.activeDeadlineSeconds)",
		*invalidation.Spec.ActiveDeadlineSeconds)
	if before := readyOf(invalidation.Status.Conditions); before != nil {
		message += ". " + withoutPromise(before.Message)
	}
	return verdict{progress: stuck, reason: v1.ReasonDeadlineExceeded, message: message + ttlNote(invalidation)}
}

func completion(
	invalidation *v1.CacheInvalidation, status v1.CacheInvalidationStatus, found invalidationFindings,
) verdict {
	keys := *status.KeysInvalidated
	v := verdict{ready: true, reason: v1.ReasonInvalidated, message: fmt.Sprintf("keys invalidated: %d", keys)}
	switch {
	case invalidation.Spec.DryRun:
		v.reason = v1.ReasonCounted
		v.message = fmt.Sprintf("keys that would be invalidated: %d; a dry run changes nothing", keys)
	case keys == 0:
		v.reason = v1.ReasonNothingMatched
		v.message = "in effect, and no key matched: " + whyNothing(status.Targets)
	case invalidation.Spec.Mode == v1.ModeSoft:
		v.message = fmt.Sprintf("keys made stale: %d", keys)
	case found.fault != nil:
		v.message += "; the store was lost before all their memory was given back: the rest expires by itself"
	}
	if keys > 0 {
		v.message = sentences(v.message, whatMissed(status.Targets))
	}
	v.message += ttlNote(invalidation)
	return v
}

// missesShown is how many of the targets that matched nothing are quoted; status.targets has all.
const missesShown = 3

// whatMissed names the targets that matched nothing, and says that there may be modules that were not reached.
func whatMissed(results []v1.TargetResult) string {
	var misses []string
	unlisted := ""
	for i, result := range results {
		if result.KeysInvalidated == 0 {
			misses = append(misses, fmt.Sprintf("targets[%d]: %s", i, result.Message))
		} else if strings.Contains(result.Message, missedModules) {
			unlisted = missedModules
		}
	}
	if len(misses) == 0 {
		return unlisted
	}
	summary := fmt.Sprintf("%d of %d targets matched nothing: ", len(misses), len(results))
	if more := len(misses) - missesShown; more > 0 {
		misses = append(misses[:missesShown], fmt.Sprintf("and %d more, see status.targets", more))
	}
	return sentences(summary+strings.Join(misses, "; "), unlisted)
}

// sentences puts texts after one another, but for empty ones.
func sentences(texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(text string) bool { return text == "" }), ". ")
}

// whyNothing quotes the only reason, or points to all.
func whyNothing(results []v1.TargetResult) string {
	if len(results) == 1 {
		return results[0].Message
	}
	return "status.targets says why"
}

// ttlNote says that, and why, a TTL is not obeyed.
func ttlNote(invalidation *v1.CacheInvalidation) string {
	tool := gitOpsTool(invalidation)
	if invalidation.Spec.TTLSecondsAfterFinished == nil || tool == "" {
		return ""
	}
	return fmt.Sprintf(". Kept in spite of spec.ttlSecondsAfterFinished: %s would create it again, and so purge again", tool)
}

func reclaiming(status v1.CacheInvalidationStatus, found invalidationFindings) verdict {
	if found.fault != nil {
		v := verdictOf(found.fault)
		v.message = "in effect, but memory is yet to be given back. " + v.message
		return v
	}
	return verdict{
		progress: reconciling, reason: v1.ReasonReclaiming,
		message: fmt.Sprintf("in effect; keys invalidated: %d; their memory is being given back", *status.KeysInvalidated),
	}
}

// finish sets Complete or Failed, which say what Ready says.
func finish(status *v1.CacheInvalidationStatus, generation int64, now time.Time) {
	var conditionType string
	switch status.State {
	case v1.StateComplete, v1.StateCounted:
		conditionType = v1.ConditionComplete
	case v1.StateFailed:
		conditionType = v1.ConditionFailed
	default:
		return
	}
	ready := readyOf(status.Conditions)
	v := verdict{ready: true, reason: ready.Reason, message: ready.Message}
	v.writeAs(conditionType, &status.Conditions, generation, now)
	status.CompletionTime = &metav1.Time{Time: now}
}

// leastDuration returns how long a purge certainly took from creation until it was in effect. The
// API server notes creation in whole seconds, cut; the reconcile that did it knows its own time.
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
