// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TakeOverFromAnnotation on a CachePolicy names a cluster by the identity that a Contended
// condition shows.
// The policy takes its module over if that cluster has claimed it.
// Unlike a switch, the annotation may be in the same manifest for both clusters.
const TakeOverFromAnnotation = "cachewright.io/take-over-from"

// CachePolicySpec declares how the operations of one module are cached.
//
// +kubebuilder:validation:XValidation:rule="has(self.storeRef) == has(oldSelf.storeRef) && (!has(self.storeRef) || self.storeRef == oldSelf.storeRef)",fieldPath=".storeRef",reason=FieldValueForbidden,message="storeRef is immutable: create a new CachePolicy for the other store, and delete this one when no application uses its store any more"
// +kubebuilder:pruning:PreserveUnknownFields
// +kubebuilder:validation:XValidation:rule="dyn(self).size() == [has(self.module), has(self.storeRef), has(self.defaultTTL), has(self.sourceLag), has(self.revision), has(self.operations), has(self.suspend), has(self.deletionPolicy)].filter(set, set).size()",message="there is a field with another name than module, storeRef, defaultTTL, sourceLag, revision, operations, suspend or deletionPolicy. Correct it, as the policy would hold without it"
type CachePolicySpec struct {
	// module is the name applications use for this part of their cache: 1 to 63 letters, digits, '.',
	// '_' and '-'.
	// One policy governs a module of a namespace in a store: of two, the older governs and the other
	// waits.
	// It cannot be changed.
	//
	// +required
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$')",message="must consist of letters, digits, '.', '_' and '-', and begin and end with a letter or digit, for example: users"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",reason=FieldValueForbidden,message="module is immutable: create a new CachePolicy for another module and delete this one"
	Module string `json:"module"`

	// storeRef names the CacheStore of this namespace to cache the module in.
	// Absent: the Redis of the operator's environment.
	// It cannot be changed.
	//
	// +optional
	StoreRef *StoreReference `json:"storeRef,omitempty"`

	// defaultTTL is how long entries of operations live that are not listed, for example 5m.
	// 0s to 720h, in h, m, s and ms.
	// Absent: such operations are not cached.
	// "0s" states that explicitly.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,4}([.][0-9]{1,3})?h|[0-9]{1,6}([.][0-9]{1,3})?m|[0-9]{1,8}([.][0-9]{1,3})?s|[0-9]{1,11}ms)+$') && duration(self) <= duration('720h')",message="must be a duration from 0s to 720h in h, m, s and whole ms, with a unit and at most 3 decimals, for example 300s, 5m or 1h30m; 0s disables caching"
	DefaultTTL *metav1.Duration `json:"defaultTTL,omitempty"`

	// sourceLag is how long a load may still read what was there before an invalidation, for example
	// 2s. Set it to how far the replicas of your database lag.
	// For so long after an invalidation, nothing that it covers is stored.
	// 0s to 10m, in h, m, s and ms.
	// Absent: 0s.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,4}([.][0-9]{1,3})?h|[0-9]{1,6}([.][0-9]{1,3})?m|[0-9]{1,8}([.][0-9]{1,3})?s|[0-9]{1,11}ms)+$') && duration(self) <= duration('10m')",message="must be a duration from 0s to 10m in h, m, s and whole ms, with a unit and at most 3 decimals, for example 2s or 500ms"
	SourceLag *metav1.Duration `json:"sourceLag,omitempty"`

	// revision purges the module once each time it changes. Use it to purge with GitOps.
	// Any string of 1 to 128 bytes, for example the release or the commit; quote it if it looks like a
	// number.
	// Setting it for the first time is a change, too; removing it purges nothing.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="bytes(self).size() <= 128",message="must be at most 128 bytes in UTF-8: use a shorter name, for example the commit"
	Revision string `json:"revision,omitempty"`

	// operations lists the operations with their own TTL, each with a unique name.
	// At most 128.
	// Absent: defaultTTL applies to every operation.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=128
	Operations []OperationPolicy `json:"operations,omitempty"`

	// suspend leaves what is in Redis as it is: the operator pushes no change of this resource until
	// it is false again.
	// Caching continues with the policy that was pushed last.
	// Default false.
	//
	// +optional
	// +kubebuilder:default=false
	Suspend bool `json:"suspend,omitempty"`

	// deletionPolicy says what happens to the policy and the module's entries in Redis when this
	// resource is deleted.
	// Delete: they are deleted with it.
	// Retain: both stay.
	// Default Delete.
	//
	// +optional
	// +kubebuilder:default=Delete
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// DeletionPolicy says what happens to policy and entries in Redis when the resource is deleted.
//
// +kubebuilder:validation:Enum=Delete;Retain
type DeletionPolicy string

const (
	// DeletionDelete withdraws the policy from Redis and invalidates the module.
	DeletionDelete DeletionPolicy = "Delete"
	// DeletionRetain leaves policy and entries in Redis.
	DeletionRetain DeletionPolicy = "Retain"
)

// CachePolicyStatus is what the operator last saw of a policy.
type CachePolicyStatus struct {
	// observedGeneration is the generation of the spec that this status describes; -1 before the
	// operator has seen the resource.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions: Ready (the policy is in force in Redis), Accepted (it governs its module),
	// and Reconciling or Stalled while they are true.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:XValidation:rule="self.lastTransitionTime >= timestamp('1000-01-01T00:00:00Z') && self.lastTransitionTime < timestamp('3000-01-01T00:00:00Z')",fieldPath=".lastTransitionTime",message="must be a time as RFC 3339 writes it, for example 2026-01-02T15:04:05Z"
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// appliedHash is the hash of the policy that is in force in Redis.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	AppliedHash string `json:"appliedHash,omitempty"`

	// appliedRevision is the spec.revision that is in force in Redis.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=128
	AppliedRevision string `json:"appliedRevision,omitempty"`

	// lastPurgeTime is when a changed revision last purged the module.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('1000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="must be a time as RFC 3339 writes it, for example 2026-01-02T15:04:05Z"
	LastPurgeTime *metav1.Time `json:"lastPurgeTime,omitempty"`

	// stats is a coarse snapshot; live statistics are in the operator's metrics.
	//
	// +optional
	Stats *CacheStats `json:"stats,omitempty"`
}

// CachePolicy declares the TTL (and more) of each operation of one module of a namespace.
// The operator pushes it to Redis. The next fill obeys, and no application is redeployed.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=cpol,categories=cachewright
// +kubebuilder:selectablefield:JSONPath=`.spec.module`
// +kubebuilder:selectablefield:JSONPath=`.spec.storeRef.name`
// +kubebuilder:printcolumn:name="Module",type=string,JSONPath=`.spec.module`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Keys",type=integer,JSONPath=`.status.stats.keys`
// +kubebuilder:printcolumn:name="Hit Ratio",type=string,JSONPath=`.status.stats.hitRatio`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.appliedRevision`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Store",type=string,priority=1,JSONPath=`.spec.storeRef.name`
// +kubebuilder:printcolumn:name="Memory",type=integer,priority=1,JSONPath=`.status.stats.memoryBytes`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type CachePolicy struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec declares how the operations of one module are cached.
	//
	// +required
	Spec CachePolicySpec `json:"spec"`

	// status is what the operator last saw of the policy and of the module's entries in Redis.
	//
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status CachePolicyStatus `json:"status,omitempty"`
}

// CachePolicyList is a list of CachePolicy.
//
// +kubebuilder:object:root=true
type CachePolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []CachePolicy `json:"items"`
}

// GetConditions returns the conditions of the status.
func (p *CachePolicy) GetConditions() []metav1.Condition { return p.Status.Conditions }
