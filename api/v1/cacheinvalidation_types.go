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
// +kubebuilder:validation:XValidation:rule="dyn(self).size() == [has(self.targets), has(self.storeRef), has(self.mode), has(self.dryRun), has(self.holdFor), has(self.reason), has(self.ttlSecondsAfterFinished), has(self.activeDeadlineSeconds)].filter(set, set).size()",message="there is a field with another name than targets, storeRef, mode, dryRun, holdFor, reason, ttlSecondsAfterFinished or activeDeadlineSeconds, or one that is null. Correct it, as the purge would take place without it"
// +kubebuilder:validation:XValidation:rule="!has(self.holdFor) || !has(self.mode) || self.mode != 'Soft'",fieldPath=".holdFor",reason=FieldValueForbidden,message="holdFor needs mode Hard: while nothing may be stored, nothing can be served that is stale"
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

	// holdFor purges, and then stores nothing of the targets for this long, for example 15m.
	// Applications load from the source meanwhile.
	// Use it while the source is wrong, or a large import runs.
	// Deleting this resource ends it early.
	// 1s to 24h, in h, m, s and ms; needs mode Hard.
	// A dry run only counts.
	// Absent: entries are stored again at once.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,4}([.][0-9]{1,3})?h|[0-9]{1,6}([.][0-9]{1,3})?m|[0-9]{1,8}([.][0-9]{1,3})?s|[0-9]{1,11}ms)+$') && duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="must be a duration from 1s to 24h in h, m, s and whole ms, with a unit and at most 3 decimals, for example 90s, 15m or 1h30m"
	HoldFor *metav1.Duration `json:"holdFor,omitempty"`

	// reason says why, for people who look at it later, for example "INC-4711 price import".
	// One line of 1 to 256 bytes.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="bytes(self).size() <= 256 && !self.matches('[\\x00-\\x1f\\x7f]')",message="must be one line of at most 256 bytes in UTF-8"
	Reason string `json:"reason,omitempty"`

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
// +kubebuilder:validation:XValidation:rule="dyn(self).size() == [has(self.module), has(self.operation), has(self.userID), has(self.all)].filter(set, set).size()",message="there is a field with another name than module, operation, userID or all, or one that is null. Correct it, as more would be purged without it"
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
// +kubebuilder:printcolumn:name="Ends",type=string,JSONPath=`.status.ends`
// +kubebuilder:printcolumn:name="Duration",type=string,JSONPath=`.status.duration`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Store",type=string,priority=1,JSONPath=`.spec.storeRef.name`
// +kubebuilder:printcolumn:name="Reclaimed",type=integer,priority=1,JSONPath=`.status.keysReclaimed`
// +kubebuilder:printcolumn:name="Dry Run",type=boolean,priority=1,JSONPath=`.spec.dryRun`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.spec.reason`
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
