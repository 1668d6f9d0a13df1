// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachestore

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/status"
)

// eventsOf returns the events of a change of status.
func eventsOf(before, after v1.CacheStoreStatus) []status.Event {
	var list []status.Event
	if status.ReadyChanged(before.Conditions, after.Conditions) {
		list = append(list, status.ReadyEvent(after.Conditions, status.ActionConnect))
	}
	was, is := meta.FindStatusCondition(before.Conditions,
		v1.ConditionAtRisk), meta.FindStatusCondition(after.Conditions, v1.ConditionAtRisk)
	if is != nil && (was == nil || was.Message != is.Message) {
		list = append(list,
			status.Event{
				Type: corev1.EventTypeWarning, Reason: is.Reason, Action: status.ActionConnect,
				Message: is.Message,
			})
	}
	return list
}
