// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

	// operations has the statistics of each operation, by name; of more than 256 the busiest.
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
