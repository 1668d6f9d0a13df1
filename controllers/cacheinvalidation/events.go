// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheinvalidation

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/status"
)

// reasonHoldLost is the reason of an event about marks that Redis lost.
const reasonHoldLost = "HoldLost"

// eventsOf returns the events of a change of status.
func eventsOf(before, after v1.CacheInvalidationStatus) []status.Event {
	var list []status.Event
	if status.ReadyChanged(before.Conditions, after.Conditions) {
		list = append(list, status.ReadyEvent(after.Conditions, status.ActionInvalidate))
	}
	if lost := after.HoldsLost - before.HoldsLost; lost > 0 {
		list = append(list, status.Event{
			Type: corev1.EventTypeWarning, Reason: reasonHoldLost, Action: status.ActionInvalidate,
			Message: fmt.Sprintf("Redis lost %d marks of the hold, which stand again: entries may have "+
				"been stored meanwhile", lost),
		})
	}
	return list
}
