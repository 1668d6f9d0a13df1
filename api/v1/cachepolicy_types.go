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
// +kubebuilder:validation:XValidation:rule="dyn(self).size() == [has(self.module), has(self.storeRef), has(self.defaultTTL), has(self.revision), has(self.operations), has(self.suspend), has(self.deletionPolicy)].filter(set, set).size()",message="there is a field with another name than module, storeRef, defaultTTL, revision, operations, suspend or deletionPolicy: correct it, as the policy would hold without it"
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

// OperationPolicy declares how one operation of the module is cached.
//
// +kubebuilder:pruning:PreserveUnknownFields
// +kubebuilder:validation:XValidation:rule="dyn(self).size() == [has(self.name), has(self.ttl), has(self.staleFor), has(self.negativeTTL), has(self.localTTL), has(self.jitterPercent), has(self.scope), has(self.maxEntryBytes)].filter(set, set).size()",message="there is a field with another name than name, ttl, staleFor, negativeTTL, localTTL, jitterPercent, scope or maxEntryBytes: correct it, as the operation would be cached without it"
type OperationPolicy struct {
	// name of the operation, as applications call it, for example getById: 1 to 128 letters, digits,
	// '.', '_', ':', '/' and '-'.
	//
	// +required
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9]([A-Za-z0-9._:/-]*[A-Za-z0-9])?$')",message="must consist of letters, digits, '.', '_', ':', '/' and '-', and begin and end with a letter or digit, for example: getById"
	Name string `json:"name"`

	// ttl is how long an entry lives, for example 300s.
	// 0s to 720h, in h, m, s and ms.
	// "0s" disables caching and invalidates what is cached. Use it as a kill switch, and for
	// operations that write.
	//
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,4}([.][0-9]{1,3})?h|[0-9]{1,6}([.][0-9]{1,3})?m|[0-9]{1,8}([.][0-9]{1,3})?s|[0-9]{1,11}ms)+$') && duration(self) <= duration('720h')",message="must be a duration from 0s to 720h in h, m, s and whole ms, with a unit and at most 3 decimals, for example 300s, 5m or 1h30m; 0s disables caching"
	TTL metav1.Duration `json:"ttl"`

	// staleFor is how long after its TTL an entry may still be served, while one caller reloads it, or
	// if that reload fails.
	// For example 30s.
	// 0s to 720h, in h, m, s and ms.
	// Absent: not at all.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,4}([.][0-9]{1,3})?h|[0-9]{1,6}([.][0-9]{1,3})?m|[0-9]{1,8}([.][0-9]{1,3})?s|[0-9]{1,11}ms)+$') && duration(self) <= duration('720h')",message="must be a duration from 0s to 720h in h, m, s and whole ms, with a unit and at most 3 decimals, for example 30s, 5m or 1h30m"
	StaleFor *metav1.Duration `json:"staleFor,omitempty"`

	// negativeTTL is how long the cache remembers that the source has nothing for an id, for example
	// 10s.
	// 0s to 720h, in h, m, s and ms.
	// Absent: not at all.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,4}([.][0-9]{1,3})?h|[0-9]{1,6}([.][0-9]{1,3})?m|[0-9]{1,8}([.][0-9]{1,3})?s|[0-9]{1,11}ms)+$') && duration(self) <= duration('720h')",message="must be a duration from 0s to 720h in h, m, s and whole ms, with a unit and at most 3 decimals, for example 30s, 5m or 1h30m"
	NegativeTTL *metav1.Duration `json:"negativeTTL,omitempty"`

	// localTTL is how long applications may keep an entry in their own memory, for example 10s.
	// They obey invalidations there within milliseconds, too.
	// 0s to 720h, in h, m, s and ms.
	// "0s" switches that off for this operation.
	// Only applications with a near cache keep entries, and never for longer than they are configured
	// to.
	// Absent: as each application is configured.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,4}([.][0-9]{1,3})?h|[0-9]{1,6}([.][0-9]{1,3})?m|[0-9]{1,8}([.][0-9]{1,3})?s|[0-9]{1,11}ms)+$') && duration(self) <= duration('720h')",message="must be a duration from 0s to 720h in h, m, s and whole ms, with a unit and at most 3 decimals, for example 10s or 500ms; 0s switches it off"
	LocalTTL *metav1.Duration `json:"localTTL,omitempty"`

	// jitterPercent shortens the TTL of each entry by a random share of up to this many percent.
	// So entries that are filled together do not expire together.
	// 0 to 50.
	// Default 0.
	//
	// +optional
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=50
	JitterPercent int32 `json:"jitterPercent,omitempty"`

	// scope says whose entries the operation has.
	// Any: shared entries and entries of users.
	// User: each entry belongs to a user, and an entry without a user is refused.
	// Default Any.
	//
	// +optional
	// +kubebuilder:default=Any
	Scope OperationScope `json:"scope,omitempty"`

	// maxEntryBytes refuses payloads larger than this many bytes.
	// 1 to 67108864 (64 MiB).
	// Absent: 64 MiB.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=67108864
	MaxEntryBytes *int64 `json:"maxEntryBytes,omitempty"`
}

// OperationScope says whose entries an operation has.
//
// +kubebuilder:validation:Enum=Any;User
type OperationScope string

const (
	// ScopeAny allows shared entries and entries of a user.
	ScopeAny OperationScope = "Any"
	// ScopeUser refuses entries without a user.
	ScopeUser OperationScope = "User"
)

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

	// stats is a coarse snapshot; live figures are in the operator's metrics.
	//
	// +optional
	Stats *CacheStats `json:"stats,omitempty"`
}

// CacheStats is a snapshot of what a module holds and how it is used.
type CacheStats struct {
	// observedTime is when the snapshot was taken.
	//
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('1000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",message="must be a time as RFC 3339 writes it, for example 2026-01-02T15:04:05Z"
	ObservedTime metav1.Time `json:"observedTime"`

	// keys is the number of live entries.
	//
	// +optional
	Keys int64 `json:"keys"`

	// memoryBytes estimates the memory of the module's entries and index in Redis.
	//
	// +optional
	MemoryBytes int64 `json:"memoryBytes"`

	// pendingKeys is the number of invalidated entries whose memory is not freed yet.
	//
	// +optional
	PendingKeys int64 `json:"pendingKeys"`

	// hits is the number of reads answered from the cache since the counters began.
	//
	// +optional
	Hits int64 `json:"hits"`

	// staleHits is the number of reads answered with a stale entry since the counters began.
	// An entry is stale past its TTL, and after a soft invalidation.
	//
	// +optional
	StaleHits int64 `json:"staleHits"`

	// misses is the number of reads not answered from the cache since the counters began.
	//
	// +optional
	Misses int64 `json:"misses"`

	// hitRatio is the percentage of reads that were hits, including stale ones, for example "93.1%";
	// empty before any read.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=8
	HitRatio string `json:"hitRatio,omitempty"`

	// operations has the figures of each operation, by name; of more than 256 the busiest.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	Operations []OperationStats `json:"operations,omitempty"`
}

// OperationStats is the part of a snapshot for one operation.
type OperationStats struct {
	// name of the operation.
	//
	// +required
	// +kubebuilder:validation:MaxLength=1024
	Name string `json:"name"`

	// keys is the number of live entries.
	//
	// +optional
	Keys int64 `json:"keys"`

	// hits is the number of reads answered from the cache since the counters began.
	//
	// +optional
	Hits int64 `json:"hits"`

	// staleHits is the number of reads answered with a stale entry since the counters began.
	// An entry is stale past its TTL, and after a soft invalidation.
	//
	// +optional
	StaleHits int64 `json:"staleHits"`

	// misses is the number of reads not answered from the cache since the counters began.
	//
	// +optional
	Misses int64 `json:"misses"`

	// fills is the number of entries stored since the counters began.
	//
	// +optional
	Fills int64 `json:"fills"`

	// fencedFills is the number of fills refused since the counters began, because an invalidation
	// came between load and fill.
	//
	// +optional
	FencedFills int64 `json:"fencedFills"`

	// invalidations is the number of invalidations that covered the whole operation since the counters
	// began.
	//
	// +optional
	Invalidations int64 `json:"invalidations"`

	// hitRatio is the percentage of reads that were hits, including stale ones, for example "93.1%";
	// empty before any read.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=8
	HitRatio string `json:"hitRatio,omitempty"`
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
