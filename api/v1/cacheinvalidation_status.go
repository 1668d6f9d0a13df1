// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// InvalidationState sums up a CacheInvalidation in one word.
//
// +kubebuilder:validation:Enum=Pending;Holding;Reclaiming;Complete;Counted;Failed
type InvalidationState string

const (
	// StatePending: not in effect yet.
	StatePending InvalidationState = "Pending"
	// StateHolding: in effect, and nothing of the targets is stored until spec.holdFor is over.
	StateHolding InvalidationState = "Holding"
	// StateReclaiming: in effect, memory is being freed.
	StateReclaiming InvalidationState = "Reclaiming"
	// StateComplete: in effect, memory is freed.
	StateComplete InvalidationState = "Complete"
	// StateCounted: a dry run is complete. It counted, and changed nothing.
	StateCounted InvalidationState = "Counted"
	// StateFailed: given up.
	StateFailed InvalidationState = "Failed"
)

// CacheInvalidationStatus is the result of a purge.
type CacheInvalidationStatus struct {
	// observedGeneration is the generation of the spec that this status describes; -1 before the
	// operator has seen the resource.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions: Complete or Failed when the purge is over, Ready (True when complete, and while it
	// holds), and Reconciling or Stalled while they are true.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:XValidation:rule="self.lastTransitionTime >= timestamp('1000-01-01T00:00:00Z') && self.lastTransitionTime < timestamp('3000-01-01T00:00:00Z')",fieldPath=".lastTransitionTime",message="must be a time as RFC 3339 writes it, for example 2026-01-02T15:04:05Z"
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// state is Pending, Holding (with spec.holdFor), Reclaiming, Complete or Failed; Counted for a dry
	// run that is complete.
	//
	// +optional
	State InvalidationState `json:"state,omitempty"`

	// startTime is when the operator started the purge.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('1000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="must be a time as RFC 3339 writes it, for example 2026-01-02T15:04:05Z"
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// effectiveTime is when the last target took effect: no read that began later sees an entry that
	// was covered.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:Pattern=`^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('1000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="must be a time as RFC 3339 writes it, for example 2026-01-02T15:04:05.678901Z"
	EffectiveTime *metav1.MicroTime `json:"effectiveTime,omitempty"`

	// holdEndTime is when entries of the targets may be stored again.
	// Absent without spec.holdFor, and before it is in effect.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('1000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="must be a time as RFC 3339 writes it, for example 2026-01-02T15:04:05Z"
	HoldEndTime *metav1.Time `json:"holdEndTime,omitempty"`

	// ends is how long it still holds, for people: minutes, or hours and minutes, for example "14m".
	// Absent when it does not hold.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Ends string `json:"ends,omitempty"`

	// holdsLost counts the marks in Redis that were gone before their time, and that the operator put
	// back.
	// Entries may have been stored meanwhile.
	//
	// +optional
	HoldsLost int64 `json:"holdsLost,omitempty"`

	// completionTime is when the purge completed or failed.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('1000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="must be a time as RFC 3339 writes it, for example 2026-01-02T15:04:05Z"
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`

	// duration is a lower bound of the time from creation to effect (creation times have whole
	// seconds).
	// For people, for example "3ms" or "<1ms".
	//
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Duration string `json:"duration,omitempty"`

	// targetSummary names the first target and how many more there are, for people.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=512
	TargetSummary string `json:"targetSummary,omitempty"`

	// keysInvalidated is the number of live entries that were covered (would have been, in a dry run).
	//
	// +optional
	KeysInvalidated *int64 `json:"keysInvalidated,omitempty"`

	// keysReclaimed is how many of the invalidated entries are freed so far.
	// Absent in a dry run and in mode Soft, which free none.
	//
	// +optional
	KeysReclaimed *int64 `json:"keysReclaimed,omitempty"`

	// targets has the result of each of spec.targets, in their order.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Targets []TargetResult `json:"targets,omitempty"`
}

// TargetResult is the result of one target.
type TargetResult struct {
	// modules is the number of modules that the target reached so far.
	//
	// +optional
	Modules int32 `json:"modules"`

	// keysInvalidated is the number of live entries that were covered.
	//
	// +optional
	KeysInvalidated int64 `json:"keysInvalidated"`

	// keysPending is how many of them waited to be freed when the target took effect.
	//
	// +optional
	KeysPending int64 `json:"keysPending"`

	// message says why nothing matched, or what delays the target.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}
