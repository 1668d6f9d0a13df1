// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// Actions of events: what the operator was doing.
const (
	ActionApply      = "Apply"
	ActionWithdraw   = "Withdraw"
	ActionInvalidate = "Invalidate"
	ActionConnect    = "Connect"
)

const (
	// ReasonAbandoned is the reason of events about a deletion that did not wait for its store.
	ReasonAbandoned = "Abandoned"
)

// Event is an event about a resource. Events are recorded on transitions only.
type Event struct {
	Type    string
	Reason  string
	Action  string
	Message string
}

// Record records the event about a resource.
func (e Event) Record(recorder events.EventRecorder, about runtime.Object) {
	recorder.Eventf(about, nil, e.Type, e.Reason, e.Action, "%s", Shown(e.Message))
}

// ordinary are reasons of not being ready that need no warning.
var ordinary = []string{v1.ReasonReclaiming, v1.ReasonDeleting, v1.ReasonConnecting, v1.ReasonInUse}

// ReadyChanged reports whether the status or the reason of Ready changed.
func ReadyChanged(before, after []metav1.Condition) bool {
	was, is := Ready(before), Ready(after)
	return is != nil && (was == nil || was.Status != is.Status || was.Reason != is.Reason)
}

// ReadyEvent returns the event that says what Ready says.
func ReadyEvent(conditions []metav1.Condition, action string) Event {
	ready := Ready(conditions)
	e := Event{corev1.EventTypeWarning, ready.Reason, action, ready.Message}
	if ready.Status == metav1.ConditionTrue || slices.Contains(ordinary, ready.Reason) {
		e.Type = corev1.EventTypeNormal
	}
	return e
}
