// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CacheStoreSpec says how the operator reaches a Redis.
//
// +kubebuilder:validation:XValidation:rule="self.mode != 'Standalone' || size(self.addresses) == 1",fieldPath=".addresses",reason=FieldValueInvalid,message="mode Standalone has exactly one address: for several servers use mode Sentinel or Cluster"
// +kubebuilder:validation:XValidation:rule="self.mode != 'Cluster' || self.db == 0",fieldPath=".db",reason=FieldValueInvalid,message="a Redis Cluster has database 0 only"
// +kubebuilder:validation:XValidation:rule="self.mode != 'Sentinel' || has(self.masterName)",fieldPath=".masterName",reason=FieldValueRequired,message="mode Sentinel needs masterName: the name under which the sentinels watch the primary, for example: mymaster"
// +kubebuilder:validation:XValidation:rule="self.mode == 'Sentinel' || !has(self.masterName)",fieldPath=".masterName",reason=FieldValueForbidden,message="masterName is for mode Sentinel only"
// +kubebuilder:validation:XValidation:rule="self.mode == 'Sentinel' || !has(self.sentinelCredentialsSecretRef)",fieldPath=".sentinelCredentialsSecretRef",reason=FieldValueForbidden,message="sentinelCredentialsSecretRef is for mode Sentinel only"
// +kubebuilder:pruning:PreserveUnknownFields
// +kubebuilder:validation:XValidation:rule="dyn(self).size() == [has(self.mode), has(self.addresses), has(self.masterName), has(self.db), has(self.credentialsSecretRef), has(self.sentinelCredentialsSecretRef), has(self.tls), has(self.onDataLoss)].filter(set, set).size()",message="there is a field with another name than mode, addresses, masterName, db, credentialsSecretRef, sentinelCredentialsSecretRef, tls or onDataLoss. Correct it, as the store would be used without it"
type CacheStoreSpec struct {
	// mode says what the addresses are.
	// Standalone: one server.
	// Sentinel: the sentinels that know which server is the primary.
	// Cluster: some nodes of a Redis Cluster, from which the operator learns the others.
	// Default Standalone.
	//
	// +optional
	// +kubebuilder:default=Standalone
	Mode StoreMode `json:"mode,omitempty"`

	// addresses of the server, of the sentinels or of nodes of the cluster, each host:port, 1 to 32.
	// Mode Standalone has exactly one.
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Addresses []StoreAddress `json:"addresses"`

	// masterName is the name under which the sentinels watch the primary, for example mymaster.
	// Required for mode Sentinel, not allowed otherwise.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	MasterName string `json:"masterName,omitempty"`

	// db is the number of the database, 0 to 65535.
	// A Redis Cluster has 0 only.
	// Default 0.
	//
	// +optional
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	DB int32 `json:"db,omitempty"`

	// credentialsSecretRef names the Secret with the user's credentials, in keys username (optional)
	// and password.
	// Absent: none are sent.
	//
	// +optional
	CredentialsSecretRef *SecretReference `json:"credentialsSecretRef,omitempty"`

	// sentinelCredentialsSecretRef names the Secret with the credentials for the sentinels, in keys
	// username (optional) and password.
	// For mode Sentinel only.
	// Absent: none are sent to them.
	//
	// +optional
	SentinelCredentialsSecretRef *SecretReference `json:"sentinelCredentialsSecretRef,omitempty"`

	// tls makes the operator connect with TLS, also to the sentinels.
	// An empty object is enough if an authority of the system signed the server's certificate.
	// Absent: no TLS.
	//
	// +optional
	TLS *StoreTLS `json:"tls,omitempty"`

	// onDataLoss says what the operator does when the store went back to an old state, so that purged
	// entries may exist again.
	// That happens in a failover to a replica that lagged, and in a restart from an old snapshot.
	// Replay: the operator issues the CacheInvalidations again that took effect since the restored
	// state.
	// InvalidateAll: it invalidates every module of the store.
	// Default InvalidateAll.
	//
	// +optional
	// +kubebuilder:default=InvalidateAll
	OnDataLoss DataLossPolicy `json:"onDataLoss,omitempty"`
}

// StoreMode says how a Redis is deployed.
//
// +kubebuilder:validation:Enum=Standalone;Sentinel;Cluster
type StoreMode string

const (
	// StoreStandalone is one server.
	StoreStandalone StoreMode = "Standalone"
	// StoreSentinel is a primary with replicas that sentinels watch.
	StoreSentinel StoreMode = "Sentinel"
	// StoreCluster is a Redis Cluster.
	StoreCluster StoreMode = "Cluster"
)

// DataLossPolicy says what the operator does when a store went back to an old state.
//
// +kubebuilder:validation:Enum=Replay;InvalidateAll
type DataLossPolicy string

const (
	// DataLossReplay issues the CacheInvalidations again that took effect since the restored state.
	DataLossReplay DataLossPolicy = "Replay"
	// DataLossInvalidateAll invalidates every module of the store.
	DataLossInvalidateAll DataLossPolicy = "InvalidateAll"
)

// CacheStoreStatus is what the operator last saw of a store.
type CacheStoreStatus struct {
	// observedGeneration is the generation of the spec that this status describes; -1 before the
	// operator has seen the resource.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions: Ready (the store can be used), and Reconciling, Stalled or AtRisk while they are
	// true.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:XValidation:rule="self.lastTransitionTime >= timestamp('1000-01-01T00:00:00Z') && self.lastTransitionTime < timestamp('3000-01-01T00:00:00Z')",fieldPath=".lastTransitionTime",message="must be a time as RFC 3339 writes it, for example 2026-01-02T15:04:05Z"
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// serverVersion is the version of the oldest primary, for example "7.0.15".
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	ServerVersion string `json:"serverVersion,omitempty"`

	// mode is what the servers say they run as: standalone or cluster.
	// sentinel: the address is a sentinel's, use mode Sentinel.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Mode string `json:"mode,omitempty"`

	// role of the servers that are written to: primary, or replica if any of them is a replica and
	// refuses writes.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Role string `json:"role,omitempty"`

	// evictionPolicy is the servers' maxmemory-policy; any is safe.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	EvictionPolicy string `json:"evictionPolicy,omitempty"`

	// memory of all primaries, in bytes. It is refreshed only together with other fields.
	//
	// +optional
	Memory *StoreMemory `json:"memory,omitempty"`

	// libraryVersion is the lowest version of the function library on any primary.
	//
	// +optional
	LibraryVersion int32 `json:"libraryVersion,omitempty"`

	// servers is the number of primaries.
	//
	// +optional
	Servers int32 `json:"servers,omitempty"`

	// modules is the number of modules that a CachePolicy governs in this store.
	//
	// +optional
	// +kubebuilder:default=0
	Modules int32 `json:"modules"`

	// keys is the number of entries of all modules that a policy governs here, when last counted.
	//
	// +optional
	// +kubebuilder:default=0
	Keys int64 `json:"keys"`

	// unclaimed is the number of names that applications used in the last day and no CachePolicy of
	// this store lists.
	// Nothing is cached under these names.
	//
	// +optional
	// +kubebuilder:default=0
	Unclaimed int32 `json:"unclaimed"`

	// unclaimedNames are these names: a module without a policy, or module/operation where the policy
	// has neither the operation nor a defaultTTL.
	// At most 64, as clients reported them.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=192
	UnclaimedNames []string `json:"unclaimedNames,omitempty"`
}

// StoreMemory is the memory that the primaries of a store use and may use.
type StoreMemory struct {
	// usedBytes is the memory they use.
	//
	// +optional
	UsedBytes int64 `json:"usedBytes"`

	// maxBytes is the memory they may use (maxmemory); 0: no limit.
	//
	// +optional
	MaxBytes int64 `json:"maxBytes"`
}

// CacheStore says how to reach a Redis.
// CachePolicies and CacheInvalidations of the same namespace name it in spec.storeRef.
// Without storeRef they use the Redis of the operator's environment.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=cstore,categories=cachewright
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.spec.mode`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.serverVersion`
// +kubebuilder:printcolumn:name="Modules",type=integer,JSONPath=`.status.modules`
// +kubebuilder:printcolumn:name="Keys",type=integer,JSONPath=`.status.keys`
// +kubebuilder:printcolumn:name="Unclaimed",type=integer,JSONPath=`.status.unclaimed`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="At Risk",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="AtRisk")].reason`
// +kubebuilder:printcolumn:name="Addresses",type=string,priority=1,JSONPath=`.spec.addresses`
// +kubebuilder:printcolumn:name="Servers",type=integer,priority=1,JSONPath=`.status.servers`
// +kubebuilder:printcolumn:name="Memory",type=integer,priority=1,JSONPath=`.status.memory.usedBytes`
// +kubebuilder:printcolumn:name="Eviction",type=string,priority=1,JSONPath=`.status.evictionPolicy`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type CacheStore struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says how to reach the Redis.
	//
	// +required
	Spec CacheStoreSpec `json:"spec"`

	// status is what the operator last saw of the store.
	//
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status CacheStoreStatus `json:"status,omitempty"`
}

// CacheStoreList is a list of CacheStore.
//
// +kubebuilder:object:root=true
type CacheStoreList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []CacheStore `json:"items"`
}

// GetConditions returns the conditions of the status.
func (s *CacheStore) GetConditions() []metav1.Condition { return s.Status.Conditions }
