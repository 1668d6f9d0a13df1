// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CacheInvalidationSpec says what to purge. It cannot be changed: to purge again, create another.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",reason=FieldValueForbidden,message="spec is immutable: create another CacheInvalidation instead (kubectl create, with metadata.generateName)"
// +kubebuilder:pruning:PreserveUnknownFields
// +kubebuilder:validation:XValidation:rule="dyn(self).size() == [has(self.targets), has(self.storeRef), has(self.mode), has(self.dryRun), has(self.ttlSecondsAfterFinished), has(self.activeDeadlineSeconds)].filter(set, set).size()",message="there is a field with another name than targets, storeRef, mode, dryRun, ttlSecondsAfterFinished or activeDeadlineSeconds, or one that is null: correct it, as the purge would take place without it"
type CacheInvalidationSpec struct {
	// targets lists what to purge, 1 to 100 targets.
	// Each is one of: {module}, {module, operation}, {userID}, {module, userID}, {module, operation,
	// userID}, {all: true}.
	//
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	Targets []InvalidationTarget `json:"targets"`

	// storeRef names the CacheStore of this namespace to purge in.
	// Absent: the Redis of the operator's environment.
	//
	// +optional
	// +nullable
	StoreRef *StoreReference `json:"storeRef,omitempty"`

	// mode says how entries are invalidated.
	// Hard: the entries are gone at once.
	// Soft: they become stale at once. Readers still get them while one caller reloads.
	// Default Hard.
	//
	// +optional
	// +kubebuilder:default=Hard
	Mode InvalidationMode `json:"mode,omitempty"`

	// dryRun counts the entries that would go and changes nothing.
	// Default false.
	//
	// +optional
	// +nullable
	// +kubebuilder:default=false
	DryRun bool `json:"dryRun,omitempty"`

	// ttlSecondsAfterFinished deletes this resource that many seconds after it completed or failed.
	// 0 to 31536000 (a year).
	// Absent: it is kept. If the namespace has too many finished ones, the oldest are deleted.
	// Ignored for resources that Argo CD or Flux manages: they would create it again, and so purge
	// again.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=31536000
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`

	// activeDeadlineSeconds gives up (Failed) when the purge could not take effect within that many
	// seconds of its creation.
	// 1 to 31536000 (a year).
	// Absent: retried without a limit.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=31536000
	ActiveDeadlineSeconds *int64 `json:"activeDeadlineSeconds,omitempty"`
}

// InvalidationTarget names one set of entries of the namespace.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.all) && self.all) || !(has(self.module) || has(self.operation) || has(self.userID))",fieldPath=".all",reason=FieldValueForbidden,message="all: true purges the whole namespace and stands alone: drop it, or drop module, operation and userID"
// +kubebuilder:validation:XValidation:rule="(has(self.all) && self.all) || has(self.module) || has(self.operation) || has(self.userID)",message="an empty target is refused: name a module or a userID, or say all: true to purge every module of the namespace"
// +kubebuilder:validation:XValidation:rule="!has(self.operation) || has(self.module)",fieldPath=".module",reason=FieldValueRequired,message="operation needs a module: name the module that the operation belongs to"
// +kubebuilder:pruning:PreserveUnknownFields
// +kubebuilder:validation:XValidation:rule="dyn(self).size() == [has(self.module), has(self.operation), has(self.userID), has(self.all)].filter(set, set).size()",message="there is a field with another name than module, operation, userID or all, or one that is null: correct it, as more would be purged without it"
type InvalidationTarget struct {
	// module whose entries to purge: 1 to 63 letters, digits, '.', '_' and '-'. It begins and ends
	// with a letter or digit.
	//
	// +optional
	// +nullable
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$')",message="must consist of letters, digits, '.', '_' and '-', and begin and end with a letter or digit, for example: users"
	Module string `json:"module,omitempty"`

	// operation of the module to purge, 1 to 128 bytes; needs module.
	//
	// +optional
	// +nullable
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="bytes(self).size() <= 128",message="must be at most 128 bytes in UTF-8"
	Operation string `json:"operation,omitempty"`

	// userID of the user whose entries to purge, 1 to 256 bytes.
	// With a module (and operation) it covers only that user's entries there, otherwise those in every
	// module of the namespace.
	// Shared entries stay.
	//
	// +optional
	// +nullable
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="bytes(self).size() <= 256",message="must be at most 256 bytes in UTF-8"
	UserID string `json:"userID,omitempty"`

	// all purges every module of the namespace.
	// It allows no other field beside it.
	// Default false.
	//
	// +optional
	All bool `json:"all,omitempty"`
}

// InvalidationMode says how entries are invalidated.
//
// +kubebuilder:validation:Enum=Hard;Soft
type InvalidationMode string

const (
	// ModeHard makes entries invalid at once.
	ModeHard InvalidationMode = "Hard"
	// ModeSoft makes entries stale at once: they may be served while one caller reloads.
	ModeSoft InvalidationMode = "Soft"
)

// InvalidationState sums up a CacheInvalidation in one word.
//
// +kubebuilder:validation:Enum=Pending;Reclaiming;Complete;Counted;Failed
type InvalidationState string

const (
	// StatePending: not in effect yet.
	StatePending InvalidationState = "Pending"
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

	// conditions: Complete or Failed when the purge is over, Ready (True when complete),
	// and Reconciling or Stalled while they are true.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:XValidation:rule="self.lastTransitionTime >= timestamp('1000-01-01T00:00:00Z') && self.lastTransitionTime < timestamp('3000-01-01T00:00:00Z')",fieldPath=".lastTransitionTime",message="must be a time as RFC 3339 writes it, for example 2026-01-02T15:04:05Z"
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// state is Pending, Reclaiming, Complete or Failed; Counted for a dry run that is complete.
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

// CacheInvalidation requests a purge of a module, an operation, a user or a combination.
// It takes effect at once, whatever the number of entries, and its status says what happened.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=cinv,categories=cachewright
// +kubebuilder:selectablefield:JSONPath=`.status.state`
// +kubebuilder:selectablefield:JSONPath=`.spec.storeRef.name`
// +kubebuilder:printcolumn:name="Targets",type=string,JSONPath=`.status.targetSummary`
// +kubebuilder:printcolumn:name="Keys",type=integer,JSONPath=`.status.keysInvalidated`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Duration",type=string,JSONPath=`.status.duration`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Store",type=string,priority=1,JSONPath=`.spec.storeRef.name`
// +kubebuilder:printcolumn:name="Reclaimed",type=integer,priority=1,JSONPath=`.status.keysReclaimed`
// +kubebuilder:printcolumn:name="Dry Run",type=boolean,priority=1,JSONPath=`.spec.dryRun`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type CacheInvalidation struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says what to purge.
	// It cannot be changed: to purge again, create another.
	//
	// +required
	Spec CacheInvalidationSpec `json:"spec"`

	// status is the result of the purge.
	//
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status CacheInvalidationStatus `json:"status,omitempty"`
}

// CacheInvalidationList is a list of CacheInvalidation.
//
// +kubebuilder:object:root=true
type CacheInvalidationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []CacheInvalidation `json:"items"`
}

// GetConditions returns the conditions of the status.
func (i *CacheInvalidation) GetConditions() []metav1.Condition { return i.Status.Conditions }
