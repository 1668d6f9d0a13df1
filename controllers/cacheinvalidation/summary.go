// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheinvalidation

import (
	"fmt"
	"strings"
	"time"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/cacheinvalidation/targets"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/status"
)

// summarize says in the words of a person what the state of an invalidation means.
func summarize(
	invalidation *v1.CacheInvalidation, next v1.CacheInvalidationStatus, found findings,
) status.Summary {
	switch next.State {
	case v1.StateFailed:
		return failure(invalidation, found)
	case v1.StateComplete, v1.StateCounted:
		return completion(invalidation, next, found)
	case v1.StateHolding:
		return holding(next, found)
	case v1.StateReclaiming:
		return reclaiming(next, found)
	default:
		return status.SummaryOf(found.met)
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
		Progress: status.Stalled, Reason: v1.ReasonDeadlineExceeded,
		Message: message + ttlNote(invalidation),
	}
}

func completion(
	invalidation *v1.CacheInvalidation, next v1.CacheInvalidationStatus, found findings,
) status.Summary {
	keys := *next.KeysInvalidated
	s := status.Summary{
		Ready: true, Reason: v1.ReasonInvalidated, Message: fmt.Sprintf("keys invalidated: %d", keys),
	}
	switch {
	case invalidation.Spec.DryRun:
		s.Reason = v1.ReasonCounted
		s.Message = fmt.Sprintf("keys that would be invalidated: %d; a dry run changes nothing", keys)
	case keys == 0:
		s.Reason = v1.ReasonNothingMatched
		s.Message = "in effect, and no key matched: " + whyNothing(next.Targets)
	case invalidation.Spec.Mode == v1.ModeSoft:
		s.Message = fmt.Sprintf("keys made stale: %d", keys)
	case found.met != nil:
		s.Message += "; the store was lost before all their memory was freed: " +
			"Redis frees the rest when it expires"
	}
	if keys > 0 {
		s.Message = status.Sentences(s.Message, whatMissed(next.Targets))
	}
	s.Message += ttlNote(invalidation)
	return s
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
		} else if strings.Contains(result.Message, targets.MissedModules) {
			unlisted = targets.MissedModules
		}
	}
	if len(misses) == 0 {
		return unlisted
	}
	summary := fmt.Sprintf("%d of %d targets matched nothing: ", len(misses), len(results))
	if more := len(misses) - missesShown; more > 0 {
		misses = append(misses[:missesShown], fmt.Sprintf("and %d more, see status.targets", more))
	}
	return status.Sentences(summary+strings.Join(misses, "; "), unlisted)
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
	if found.met != nil {
		s := status.SummaryOf(found.met)
		s.Message = "in effect, but not all memory is freed yet. " + s.Message
		return s
	}
	return status.Summary{
		Progress: status.Reconciling, Reason: v1.ReasonReclaiming,
		Message: fmt.Sprintf("in effect; keys invalidated: %d; their memory is being freed",
			*next.KeysInvalidated),
	}
}

// holding says what a hold does. It is ready, as all that the spec asks for is in effect.
func holding(next v1.CacheInvalidationStatus, found findings) status.Summary {
	until := next.HoldEndTime.UTC().Format(time.RFC3339)
	if found.met != nil {
		s := status.SummaryOf(found.met)
		s.Message = "in effect, but the hold until " + until + " could not be renewed: Redis ends it " +
			"within 10 minutes of the last renewal. " + s.Message
		return s
	}
	s := status.Summary{
		Ready: true, Reason: v1.ReasonHolding, Message: fmt.Sprintf(
			"in effect; keys invalidated: %d; nothing of the targets is stored until %s",
			*next.KeysInvalidated, until),
	}
	if next.HoldsLost > 0 {
		s.Message += fmt.Sprintf(
			". Marks that Redis had lost and that were put back: %d: entries may have been stored meanwhile",
			next.HoldsLost)
	}
	return s
}

// humanRemaining rounds up to minutes, so that it is written once a minute.
func humanRemaining(d time.Duration) string {
	minutes := int((d + time.Minute - 1) / time.Minute)
	if minutes < 60 {
		return fmt.Sprintf("%dm", minutes)
	}
	return fmt.Sprintf("%dh%dm", minutes/60, minutes%60)
}

// isReclaimed reports whether no memory is left to free, as far as the status says.
func isReclaimed(recorded v1.CacheInvalidationStatus) bool {
	return recorded.KeysReclaimed != nil && recorded.KeysInvalidated != nil &&
		*recorded.KeysReclaimed >= *recorded.KeysInvalidated
}
