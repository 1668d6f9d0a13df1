// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheinvalidation

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/resource"
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
	// pending is how many keys of the slots were yet to be reclaimed; nil: not read.
	pending *int64
	// fault that ended the reconcile, if one did.
	fault *status.ClassifiedError
}

// statusOf turns findings into status.
func statusOf(
	invalidation *v1.CacheInvalidation, found findings, now time.Time,
) v1.CacheInvalidationStatus {
	next := *invalidation.Status.DeepCopy()
	next.ObservedGeneration = invalidation.Generation
	next.TargetSummary = summarizeTargets(invalidation.Spec.Targets)
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
		next.Duration = humanDuration(leastDuration(invalidation.CreationTimestamp.Time, found.began,
			found.effective))
	}
	// what is stale is there still
	if next.EffectiveTime != nil && invalidation.Spec.Mode != v1.ModeSoft {
		next.KeysReclaimed = new(reclaimedSoFar(next, found.pending))
	}
	next.State = stateOf(invalidation, next, found)
	summarize(invalidation, next, found).Write(&next.Conditions, invalidation.Generation, now)
	setCompletion(&next, invalidation.Generation, now)
	return next
}

// stateOf decides which state the findings amount to.
func stateOf(
	invalidation *v1.CacheInvalidation, next v1.CacheInvalidationStatus, found findings,
) v1.InvalidationState {
	counted := invalidation.Spec.DryRun && !found.effective.IsZero()
	inEffect := next.EffectiveTime != nil
	switch {
	case found.refused > 0 && !found.effective.IsZero():
		return v1.StateFailed
	case counted:
		return v1.StateCounted
	case inEffect && found.fault != nil && found.late:
		return v1.StateComplete
	case inEffect && (found.fault != nil || pendingOf(next, found.pending) > 0):
		return v1.StateReclaiming
	case inEffect:
		return v1.StateComplete
	case found.late:
		return v1.StateFailed
	default:
		return v1.StatePending
	}
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

func summarize(
	invalidation *v1.CacheInvalidation, next v1.CacheInvalidationStatus, found findings,
) status.Summary {
	switch next.State {
	case v1.StateFailed:
		return failure(invalidation, found)
	case v1.StateComplete, v1.StateCounted:
		return completion(invalidation, next, found)
	case v1.StateReclaiming:
		return reclaiming(next, found)
	default:
		return status.SummaryOf(found.fault)
	}
}

func failure(invalidation *v1.CacheInvalidation, found findings) status.Summary {
	if found.refused > 0 && !found.effective.IsZero() {
		return status.Summary{
			Progress: status.Stalled, Reason: v1.ReasonRejected,
			Message: fmt.Sprintf(
				"%d of %d targets were refused by the function library in Redis: status.targets says why, "+
					"and what became of the others", found.refused, len(invalidation.Spec.Targets)),
		}
	}
	message := fmt.Sprintf(
		"given up: not known to be in effect %d seconds after creation (spec.activeDeadlineSeconds)",
		*invalidation.Spec.ActiveDeadlineSeconds)
	if before := status.Ready(invalidation.Status.Conditions); before != nil {
		message += ". " + status.WithoutPromise(before.Message)
	}
	return status.Summary{
		Progress: status.Stalled, Reason: v1.ReasonDeadlineExceeded, Message: message +
			ttlNote(invalidation),
	}
}

func completion(
	invalidation *v1.CacheInvalidation, next v1.CacheInvalidationStatus, found findings,
) status.Summary {
	keys := *next.KeysInvalidated
	v := status.Summary{
		Ready: true, Reason: v1.ReasonInvalidated, Message: fmt.Sprintf("keys invalidated: %d", keys),
	}
	switch {
	case invalidation.Spec.DryRun:
		v.Reason = v1.ReasonCounted
		v.Message = fmt.Sprintf("keys that would be invalidated: %d; a dry run changes nothing", keys)
	case keys == 0:
		v.Reason = v1.ReasonNothingMatched
		v.Message = "in effect, and no key matched: " + whyNothing(next.Targets)
	case invalidation.Spec.Mode == v1.ModeSoft:
		v.Message = fmt.Sprintf("keys made stale: %d", keys)
	case found.fault != nil:
		v.Message += "; the store was lost before all their memory was freed: " +
			"Redis frees the rest when it expires"
	}
	if keys > 0 {
		v.Message = sentences(v.Message, whatMissed(next.Targets))
	}
	v.Message += ttlNote(invalidation)
	return v
}

// missesShown is how many of the targets that matched nothing are quoted; status.targets has all.
const missesShown = 3

// whatMissed names the targets that matched nothing, and says whether modules may not have been
// reached.
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

// sentences joins texts, without empty ones.
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

// ttlNote says why a TTL is not obeyed; empty: it is.
func ttlNote(invalidation *v1.CacheInvalidation) string {
	tool := resource.GitOpsTool(invalidation)
	if invalidation.Spec.TTLSecondsAfterFinished == nil || tool == "" {
		return ""
	}
	return fmt.Sprintf(
		". Kept in spite of spec.ttlSecondsAfterFinished: %s would create it again, and so purge again",
		tool)
}

func reclaiming(next v1.CacheInvalidationStatus, found findings) status.Summary {
	if found.fault != nil {
		v := status.SummaryOf(found.fault)
		v.Message = "in effect, but not all memory is freed yet. " + v.Message
		return v
	}
	return status.Summary{
		Progress: status.Reconciling, Reason: v1.ReasonReclaiming,
		Message: fmt.Sprintf("in effect; keys invalidated: %d; their memory is being freed",
			*next.KeysInvalidated),
	}
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
	v := status.Summary{Ready: true, Reason: ready.Reason, Message: ready.Message}
	v.WriteAs(conditionType, &next.Conditions, generation, now)
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
