// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package v1

// Condition types. Ready, Reconciling and Stalled follow kstatus
// (https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus); Complete and Failed
// mean what they mean for a Job. Reconciling and Stalled are present only while they are true.
const (
	// ConditionReady is True when the resource does what its spec says.
	ConditionReady = "Ready"
	// ConditionReconciling is True while the operator works on the resource, or waits to try again.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True when only a change by a person can help.
	ConditionStalled = "Stalled"

	// ConditionAccepted says whether a CachePolicy governs its module. It is False if an older
	// policy of the same namespace governs it.
	ConditionAccepted = "Accepted"

	// ConditionAtRisk is True while a CacheStore works, but something about it endangers those who
	// use it. Its reason is the first of the dangers.
	ConditionAtRisk = "AtRisk"

	// ConditionComplete is True when a CacheInvalidation took effect and memory is freed. It is
	// final.
	ConditionComplete = "Complete"
	// ConditionFailed is True when the operator gave a CacheInvalidation up. It is final.
	ConditionFailed = "Failed"
)

// Reasons of conditions on a CachePolicy.
const (
	// ReasonApplied: the policy is in force in Redis.
	ReasonApplied = "Applied"
	// ReasonAppliedWithoutSourceLag: the policy is in force in Redis, but its function library is too
	// old for sourceLag.
	ReasonAppliedWithoutSourceLag = "AppliedWithoutSourceLag"
	// ReasonCachesNothing: the policy is in force in Redis, but caches nothing, as no ttl is above
	// 0.
	ReasonCachesNothing = "CachesNothing"
	// ReasonAccepted: the policy governs its module.
	ReasonAccepted = "Accepted"
	// ReasonConflicted: an older policy of the namespace governs the same module.
	ReasonConflicted = "Conflicted"
	// ReasonContended: the policy in Redis belongs to another cluster, or to a policy of another
	// store.
	ReasonContended = "Contended"
	// ReasonSuspended: spec.suspend is true; what is in Redis stays as it is.
	ReasonSuspended = "Suspended"
	// ReasonRejected: the function library in Redis refused the policy.
	ReasonRejected = "Rejected"
	// ReasonDeleting: the policy is being withdrawn from Redis.
	ReasonDeleting = "Deleting"
)

// Reasons of conditions on a CacheStore.
const (
	// ReasonConnected: the store can be used.
	ReasonConnected = "Connected"
	// ReasonConnecting: the operator has not checked the store yet, as it is declared now.
	ReasonConnecting = "Connecting"
	// ReasonNotPrimary: a server accepts no writes, as it is a replica.
	ReasonNotPrimary = "NotPrimary"
	// ReasonMemoryFull: a server has reached maxmemory and may evict nothing, so it stores nothing
	// more.
	ReasonMemoryFull = "MemoryFull"
	// ReasonReplicaLags: a failover to a replica would lose invalidations.
	ReasonReplicaLags = "ReplicaLags"
	// ReasonLossUnseen: a server does not identify the state of its data, so the operator cannot
	// detect a loss of data.
	ReasonLossUnseen = "LossUnseen"
	// ReasonRestoresOldState: a restart would restore what a server has written to disk.
	ReasonRestoresOldState = "RestoresOldState"
	// ReasonInUse: the resource is being deleted, and policies or purges still refer to it.
	ReasonInUse = "InUse"
)

// Reasons of conditions on CachePolicies and CacheInvalidations.
const (
	// ReasonStoreNotFound: there is no CacheStore of the name in spec.storeRef.
	ReasonStoreNotFound = "StoreNotFound"
	// ReasonStoreRequired: the operator has no Redis of its own, so spec.storeRef must name one.
	ReasonStoreRequired = "StoreRequired"
)

// Reasons of conditions on all kinds.
const (
	// ReasonStoreSecretInvalid: a Secret that the CacheStore names is missing or unusable.
	ReasonStoreSecretInvalid = "StoreSecretInvalid"
	// ReasonStoreUnreachable: Redis is unreachable. The operator retries with backoff.
	ReasonStoreUnreachable = "StoreUnreachable"
	// ReasonStoreRefusesWrites: Redis answers, but accepts no writes.
	ReasonStoreRefusesWrites = "StoreRefusesWrites"
	// ReasonStoreUnauthorized: Redis refuses the operator's credentials or an ACL forbids a
	// command.
	ReasonStoreUnauthorized = "StoreUnauthorized"
	// ReasonStoreUnsupported: Redis is older than 7.0 and has no functions.
	ReasonStoreUnsupported = "StoreUnsupported"
	// ReasonStoreMisbehaves: the server breaks the protocol of Redis or the limits of a reply. A
	// person must look at it. The operator retries with backoff.
	ReasonStoreMisbehaves = "StoreMisbehaves"
	// ReasonStoreAddressNotAllowed: the operator may not connect to the address of the store, of a
	// server that its Sentinels name, or of a node. --allowed-store-addresses decides that.
	ReasonStoreAddressNotAllowed = "StoreAddressNotAllowed"
)

// Reasons of conditions on a CacheInvalidation.
const (
	// ReasonInvalidated: every target took effect.
	ReasonInvalidated = "Invalidated"
	// ReasonNothingMatched: every target took effect, and none covered a live entry.
	ReasonNothingMatched = "NothingMatched"
	// ReasonCounted: a dry run counted and changed nothing.
	ReasonCounted = "Counted"
	// ReasonHolding: the purge is in effect, and nothing of its targets is stored until its hold ends.
	ReasonHolding = "Holding"
	// ReasonReclaiming: the purge is in effect, and memory is being freed.
	ReasonReclaiming = "Reclaiming"
	// ReasonLibraryTooOld: the function library in Redis knows no holds, so nothing was invalidated.
	ReasonLibraryTooOld = "LibraryTooOld"
	// ReasonDeadlineExceeded: spec.activeDeadlineSeconds passed before the purge took effect.
	ReasonDeadlineExceeded = "DeadlineExceeded"
)

const (
	// CachePolicyFinalizer is held by a CachePolicy until it is withdrawn from Redis.
	CachePolicyFinalizer = "cachewright.io/policy"
	// CacheStoreFinalizer is held by a CacheStore until no policy and no unfinished purge refers to
	// it.
	CacheStoreFinalizer = "cachewright.io/store"
	// CacheInvalidationFinalizer is held by a CacheInvalidation while it holds (spec.holdFor), until
	// its marks are taken out of Redis.
	CacheInvalidationFinalizer = "cachewright.io/hold"
)
