// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// OperationPolicy declares how one operation of the module is cached.
//
// +kubebuilder:pruning:PreserveUnknownFields
// +kubebuilder:validation:XValidation:rule="dyn(self).size() == [has(self.name), has(self.ttl), has(self.staleFor), has(self.negativeTTL), has(self.localTTL), has(self.sourceLag), has(self.jitterPercent), has(self.scope), has(self.maxEntryBytes)].filter(set, set).size()",message="there is a field with another name than name, ttl, staleFor, negativeTTL, localTTL, sourceLag, jitterPercent, scope or maxEntryBytes. Correct it, as the operation would be cached without it"
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

	// sourceLag is how long a load of the operation may still read what was there before an
	// invalidation, for example 2s.
	// For so long after an invalidation, nothing that it covers is stored.
	// 0s to 10m, in h, m, s and ms.
	// "0s" is for operations whose source does not lag.
	// Absent: that of the policy.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,4}([.][0-9]{1,3})?h|[0-9]{1,6}([.][0-9]{1,3})?m|[0-9]{1,8}([.][0-9]{1,3})?s|[0-9]{1,11}ms)+$') && duration(self) <= duration('10m')",message="must be a duration from 0s to 10m in h, m, s and whole ms, with a unit and at most 3 decimals, for example 2s or 500ms"
	SourceLag *metav1.Duration `json:"sourceLag,omitempty"`

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
