// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheinvalidation

import (
	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/status"
)

// eventsOf returns the events of a change of status.
func eventsOf(before, after v1.CacheInvalidationStatus) []status.Event {
	if !status.ReadyChanged(before.Conditions, after.Conditions) {
		return nil
	}
	return []status.Event{status.ReadyEvent(after.Conditions, status.ActionInvalidate)}
}
