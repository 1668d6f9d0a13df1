// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"regexp"
	"strings"
	"time"
	"unicode"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// progress says what comes next for a resource, in the terms of kstatus; empty: nothing, until
// somebody changes it.
type progress string

const (
	// reconciling: the operator goes on working, or waiting.
	reconciling progress = v1.ConditionReconciling
	// stuck: a person has to act.
	stuck progress = v1.ConditionStalled
)

// verdict sums up a reconcile.
type verdict struct {
	ready    bool
	progress progress
	reason   string
	message  string
}

// verdictOf is the verdict on a resource that met a fault.
func verdictOf(f *fault) verdict {
	v := verdict{progress: reconciling, reason: f.reason, message: f.message}
	if f.class == classStalled || f.class == classTerminal {
		v.progress = stuck
	}
	return v
}

// maxMessage bounds what is taken over from others into a condition or an event, in bytes.
const maxMessage = 900

// write sets Ready, and keeps Reconciling and Stalled only while they are true.
func (v verdict) write(conditions *[]metav1.Condition, generation int64, now time.Time) {
	v.writeAs(v1.ConditionReady, conditions, generation, now)
	for _, p := range []progress{reconciling, stuck} {
		if v.progress == p {
			v.asTrue().writeAs(string(p), conditions, generation, now)
		} else {
			meta.RemoveStatusCondition(conditions, string(p))
		}
	}
}

// asTrue returns the verdict for a condition that is present because it is true.
func (v verdict) asTrue() verdict {
	v.ready = true
	return v
}

// writeAs sets one condition, True if the verdict is ready.
func (v verdict) writeAs(conditionType string, conditions *[]metav1.Condition, generation int64, now time.Time) {
	condition := metav1.Condition{
		Type:               conditionType,
		Status:             metav1.ConditionFalse,
		ObservedGeneration: generation,
		LastTransitionTime: metav1.NewTime(now),
		Reason:             v.reason,
		Message:            shown(v.message),
	}
	if v.ready {
		condition.Status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(conditions, condition)
}

// stamp says of conditions that are still what they were that they were looked at again.
func stamp(conditions []metav1.Condition, generation int64) {
	for i := range conditions {
		conditions[i].ObservedGeneration = generation
	}
}

// readyOf returns the condition Ready, nil before there is one.
func readyOf(conditions []metav1.Condition) *metav1.Condition {
	return meta.FindStatusCondition(conditions, v1.ConditionReady)
}

// Bounds of the time between two looks at a resource that waits for the store.
const (
	minWait    = time.Second
	maxWait    = 30 * time.Second
	waitJitter = 0.2
)

// waitAgain waits for as long as the resource has not been ready already, which doubles the time
// with each look and needs no memory of its own.
func waitAgain(conditions []metav1.Condition, now time.Time) time.Duration {
	waited := minWait
	if ready := readyOf(conditions); ready != nil {
		waited = min(max(now.Sub(ready.LastTransitionTime.Time), minWait), maxWait)
	}
	return wait.Jitter(waited, waitJitter)
}

// promise is what messages of troubles say that are got over without anybody's help.
var promise = regexp.MustCompile(`[;,.]? ?[Ii]t is tried again[^.;]*`)

// withoutPromise returns a message for when there is no other try.
func withoutPromise(message string) string { return promise.ReplaceAllString(message, "") }

// clip shortens a text to so many bytes, between characters.
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	const ellipsis = "…"
	cut := 0
	for at := range text {
		if at > limit-len(ellipsis) {
			break
		}
		cut = at
	}
	return text[:cut] + ellipsis
}

// shown makes a text, which others may have had a part in, fit for a condition or an event: bounded, in valid UTF-8, and without
// characters that control a terminal or the direction of writing.
func shown(text string) string { return clip(clean(text), maxMessage) }

// clean puts a space in the place of what cannot be seen.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}
