// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// What the operator was doing when something became worth an event.
const (
	actionApply      = "Apply"
	actionWithdraw   = "Withdraw"
	actionInvalidate = "Invalidate"
	actionConnect    = "Connect"
)

// Reasons of events about policies, beside those of Ready. A test holds all constants that are named like these against the pages.
const (
	reasonRestored   = "Restored"
	reasonPurged     = "Purged"
	reasonWithdrawn  = "Withdrawn"
	reasonRetained   = "Retained"
	reasonHandedOver = "HandedOver"
	reasonAbandoned  = "Abandoned"
)

// notice is an event: told about a resource, on transitions only.
type notice struct {
	eventType string
	reason    string
	action    string
	message   string
}

func (e notice) record(recorder events.EventRecorder, about runtime.Object) {
	recorder.Eventf(about, nil, e.eventType, e.reason, e.action, "%s", shown(e.message))
}

// policyEvents tells how one status became another.
func policyEvents(before, after v1.CachePolicyStatus, found policyFindings) []notice {
	var told []notice
	if found.restored {
		told = append(told, notice{
			corev1.EventTypeWarning, reasonRestored, actionApply,
			"Redis had lost the policy, or somebody had changed it there: it was put in force again",
		})
	}
	if !after.LastPurgeTime.Equal(before.LastPurgeTime) {
		told = append(told, notice{corev1.EventTypeNormal, reasonPurged, actionApply, whyPurged(after, found)})
	}
	if after.AppliedHash != before.AppliedHash && after.AppliedHash != "" ||
		readyChanged(before.Conditions, after.Conditions) {
		told = append(told, readyEvent(after.Conditions, actionApply))
	}
	return told
}

func whyPurged(status v1.CachePolicyStatus, found policyFindings) string {
	if found.restored {
		return "Redis had lost the policy, and with it the revision that its entries were of: the module was purged"
	}
	return fmt.Sprintf("spec.revision changed to %q: the module was purged", status.AppliedRevision)
}

// invalidationEvents tells how one status became another.
func invalidationEvents(before, after v1.CacheInvalidationStatus) []notice {
	if !readyChanged(before.Conditions, after.Conditions) {
		return nil
	}
	return []notice{readyEvent(after.Conditions, actionInvalidate)}
}

// storeEvents tells how one status became another.
func storeEvents(before, after v1.CacheStoreStatus) []notice {
	var told []notice
	if readyChanged(before.Conditions, after.Conditions) {
		told = append(told, readyEvent(after.Conditions, actionConnect))
	}
	was, is := meta.FindStatusCondition(before.Conditions, v1.ConditionAtRisk), meta.FindStatusCondition(after.Conditions, v1.ConditionAtRisk)
	if is != nil && (was == nil || was.Message != is.Message) {
		told = append(told, notice{corev1.EventTypeWarning, is.Reason, actionConnect, is.Message})
	}
	return told
}

// ordinary are reasons of not being ready that are no trouble.
var ordinary = []string{v1.ReasonReclaiming, v1.ReasonDeleting, v1.ReasonConnecting, v1.ReasonInUse}

func readyChanged(before, after []metav1.Condition) bool {
	was, is := readyOf(before), readyOf(after)
	return is != nil && (was == nil || was.Status != is.Status || was.Reason != is.Reason)
}

// readyEvent says what Ready says.
func readyEvent(conditions []metav1.Condition, action string) notice {
	ready := readyOf(conditions)
	e := notice{corev1.EventTypeWarning, ready.Reason, action, ready.Message}
	if ready.Status == metav1.ConditionTrue || slices.Contains(ordinary, ready.Reason) {
		e.eventType = corev1.EventTypeNormal
	}
	return e
}
