// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllertest

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// StoreTo is a CacheStore for a standalone server.
func StoreTo(name, address string) *v1.CacheStore {
	return &v1.CacheStore{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1.CacheStoreSpec{Addresses: []v1.StoreAddress{v1.StoreAddress(address)}},
	}
}

// UsersPolicyIn is UsersPolicy in a CacheStore.
func UsersPolicyIn(store string) *v1.CachePolicy {
	policy := UsersPolicy()
	policy.Spec.StoreRef = &v1.StoreReference{Name: store}
	return policy
}

// MadeStore is a CacheStore of the first generation.
func MadeStore(uid, address string) *v1.CacheStore {
	store := StoreTo("main", address)
	store.Namespace, store.UID, store.Generation = "shop", types.UID(uid), 1
	return store
}

// Changed is a CacheStore whose address was changed.
func Changed(store *v1.CacheStore, address string) *v1.CacheStore {
	next := store.DeepCopy()
	next.Generation++
	next.Spec.Addresses = []v1.StoreAddress{v1.StoreAddress(address)}
	return next
}

// Timeout is how long a test waits for what must happen; it is long because machines are busy.
const Timeout = time.Minute

// UsersPolicy is the policy that most specs use.
func UsersPolicy() *v1.CachePolicy {
	return &v1.CachePolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "users"},
		Spec: v1.CachePolicySpec{
			Module: "users",
			Operations: []v1.OperationPolicy{
				{Name: "getById", TTL: Minutes(5)},
				{Name: "list", TTL: Minutes(3)},
				{Name: "create", TTL: Minutes(0)},
			},
		},
	}
}

// Minutes returns a duration for a spec.
func Minutes(n int) metav1.Duration {
	return metav1.Duration{Duration: time.Duration(n) * time.Minute}
}

// Invalidation is a CacheInvalidation of targets.
func Invalidation(targets ...v1.InvalidationTarget) *v1.CacheInvalidation {
	return &v1.CacheInvalidation{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "invalidation-"},
		Spec:       v1.CacheInvalidationSpec{Targets: targets},
	}
}

// Ready is how Ready reads, for example "True Applied".
func Ready(conditions []metav1.Condition) string { return Condition(conditions, v1.ConditionReady) }

// Condition is how a condition reads, for example "True Applied"; "absent" if there is none.
func Condition(conditions []metav1.Condition, conditionType string) string {
	for _, condition := range conditions {
		if condition.Type == conditionType {
			return string(condition.Status) + " " + condition.Reason
		}
	}
	return "absent"
}
