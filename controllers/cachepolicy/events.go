// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachepolicy

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/status"
)

// Reasons of events about policies, beside those of Ready. A test compares all constants that are
// named like these with the pages of the kinds.
const (
	reasonRestored = "Restored"
)

const (
	reasonPurged = "Purged"
)

const (
	reasonWithdrawn = "Withdrawn"
)

const (
	reasonRetained = "Retained"
)

const (
	reasonHandedOver = "HandedOver"
)

// eventsOf returns the events of a change of status.
func eventsOf(before, after v1.CachePolicyStatus, found findings) []status.Event {
	var list []status.Event
	if found.restored {
		list = append(list, status.Event{
			Type: corev1.EventTypeWarning, Reason: reasonRestored, Action: status.ActionApply,
			Message: "the policy was missing in Redis, or changed there: it was applied again",
		})
	}
	if !after.LastPurgeTime.Equal(before.LastPurgeTime) {
		list = append(list,
			status.Event{
				Type: corev1.EventTypeNormal, Reason: reasonPurged, Action: status.ActionApply,
				Message: whyPurged(after, found),
			})
	}
	if after.AppliedHash != before.AppliedHash && after.AppliedHash != "" ||
		status.ReadyChanged(before.Conditions, after.Conditions) {
		list = append(list, status.ReadyEvent(after.Conditions, status.ActionApply))
	}
	return list
}

func whyPurged(next v1.CachePolicyStatus, found findings) string {
	if found.restored {
		return "Redis had lost the policy, and with it the revision that its entries were of: the " +
			"module was purged"
	}
	return fmt.Sprintf("spec.revision changed to %q: the module was purged", next.AppliedRevision)
}
