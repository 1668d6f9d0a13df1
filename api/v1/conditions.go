// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package v1

// Condition types. Ready, Reconciling and Stalled follow kstatus
// (https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus); Complete and Failed
// mean what they mean for a Job. Reconciling and Stalled are present only while they are true.
const (
	// ConditionReady is True when the resource does what its spec says.
	ConditionReady = "Ready"
	// ConditionReconciling is True while the operator still works, or waits, to bring that about.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True when only a change by a person can help.
	ConditionStalled = "Stalled"

	// ConditionAccepted says whether a CachePolicy governs its module. It is False for a
	// policy that lost its module to an older one of the same namespace.
	ConditionAccepted = "Accepted"

	// ConditionAtRisk is True while something about a CacheStore endangers those who use it, though it
	// works. Its reason is the first of the dangers.
	ConditionAtRisk = "AtRisk"

	// ConditionComplete is True when a CacheInvalidation took effect and its memory is given back.
	ConditionComplete = "Complete"
	// ConditionFailed is True when a CacheInvalidation was given up. It is final.
	ConditionFailed = "Failed"
)

// Reasons of conditions on a CachePolicy.
const (
	// ReasonApplied: the policy is in force in Redis.
	ReasonApplied = "Applied"
	// ReasonCachesNothing: the policy is in force in Redis, and caches nothing: no ttl is above 0.
	ReasonCachesNothing = "CachesNothing"
	// ReasonAccepted: the policy governs its module.
	ReasonAccepted = "Accepted"
	// ReasonConflicted: an older policy of the namespace governs the same module.
	ReasonConflicted = "Conflicted"
	// ReasonContended: the policy in Redis belongs to another cluster, or to a policy of another store.
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
	// ReasonConnecting: the store has not been looked at yet as it is declared now.
	ReasonConnecting = "Connecting"
	// ReasonNotPrimary: a server takes no writes, as it is a replica.
	ReasonNotPrimary = "NotPrimary"
	// ReasonMemoryFull: a server has reached maxmemory and may evict nothing, so it stores nothing more.
	ReasonMemoryFull = "MemoryFull"
	// ReasonReplicaLags: a failover to a replica would lose invalidations.
	ReasonReplicaLags = "ReplicaLags"
	// ReasonLossUnseen: a server does not say which state of its data it holds, so a loss of data cannot be noticed.
	ReasonLossUnseen = "LossUnseen"
	// ReasonRestoresOldState: a restart would bring back what a server has written to disk.
	ReasonRestoresOldState = "RestoresOldState"
	// ReasonInUse: the resource is to be deleted, and policies or purges still refer to it.
	ReasonInUse = "InUse"
)

// Reasons of conditions on CachePolicies and CacheInvalidations.
const (
	// ReasonStoreNotFound: there is no CacheStore of the name in spec.storeRef.
	ReasonStoreNotFound = "StoreNotFound"
	// ReasonStoreRequired: the operator has no Redis of its own, so spec.storeRef has to name one.
	ReasonStoreRequired = "StoreRequired"
)

// Reasons of conditions on all kinds.
const (
	// ReasonStoreSecretInvalid: a Secret that the CacheStore names is missing or cannot be used.
	ReasonStoreSecretInvalid = "StoreSecretInvalid"
	// ReasonStoreUnreachable: Redis cannot be reached; it is tried again with backoff.
	ReasonStoreUnreachable = "StoreUnreachable"
	// ReasonStoreRefusesWrites: Redis answers and takes no writes.
	ReasonStoreRefusesWrites = "StoreRefusesWrites"
	// ReasonStoreUnauthorized: Redis refuses the operator's credentials or an ACL forbids a command.
	ReasonStoreUnauthorized = "StoreUnauthorized"
	// ReasonStoreUnsupported: Redis is older than 7.0 and has no functions.
	ReasonStoreUnsupported = "StoreUnsupported"
	// ReasonStoreMisbehaves: what answers breaks the protocol of Redis or its bounds. A person has to look at it; it is
	// tried again with backoff.
	ReasonStoreMisbehaves = "StoreMisbehaves"
	// ReasonStoreAddressNotAllowed: the operator may not connect to where the store, its Sentinels or its nodes lead. Whoever
	// runs the operator decides, by --allowed-store-addresses.
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
	// ReasonReclaiming: the purge is in effect, its memory is being given back.
	ReasonReclaiming = "Reclaiming"
	// ReasonDeadlineExceeded: spec.activeDeadlineSeconds passed before the purge took effect.
	ReasonDeadlineExceeded = "DeadlineExceeded"
)

const (
	// CachePolicyFinalizer is held by a CachePolicy until it is withdrawn from Redis.
	CachePolicyFinalizer = "cachewright.io/policy"
	// CacheStoreFinalizer is held by a CacheStore until no policy and no unfinished purge refers to it.
	CacheStoreFinalizer = "cachewright.io/store"
)
