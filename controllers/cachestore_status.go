// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// storeFindings is what the steps of a reconcile found out about a CacheStore.
type storeFindings struct {
	// place of the store, for messages.
	place place
	// last finding of the monitor; nil: it has not looked yet.
	last *finding
	// references to a store that is to be deleted.
	references references
	// gone: the resource is no more, or others hold it.
	gone bool
}

// storeStatus turns findings into status.
func storeStatus(store *v1.CacheStore, found storeFindings, now time.Time) v1.CacheStoreStatus {
	status := *store.Status.DeepCopy()
	if found.last != nil && found.last.generation != editionOf(store) {
		found.last = nil // of another Redis, perhaps
	}
	if found.last == nil && !found.references.any() && status.ObservedGeneration == store.Generation {
		return status // after a start of the operator, what was found before is as good as any guess
	}
	storeVerdict(found).write(&status.Conditions, store.Generation, now)
	if found.last == nil && status.ObservedGeneration != store.Generation || found.last != nil && found.last.err != nil {
		meta.RemoveStatusCondition(&status.Conditions, v1.ConditionAtRisk) // nobody knows
	}
	status.ObservedGeneration = store.Generation
	if found.last != nil && found.last.err == nil {
		describe(&status, found.last.health)
		warn(&status.Conditions, found.last.health.Warnings(), store.Generation, now)
		show(&status, found.last.figures)
	}
	stamp(status.Conditions, store.Generation)
	// Two looks never find the same memory: it is written when something else changed.
	unchanged := status
	unchanged.Memory = store.Status.Memory
	if equality.Semantic.DeepEqual(unchanged, store.Status) {
		return unchanged
	}
	return status
}

func storeVerdict(found storeFindings) verdict {
	switch {
	case found.references.any():
		return verdict{
			progress: reconciling, reason: v1.ReasonInUse,
			message: fmt.Sprintf("it is to be deleted, and %d CachePolicies and %d unfinished CacheInvalidations refer to it, for example %s: "+
				"delete those, or wait for the purges", found.references.policies, found.references.invalidations, found.references.example),
		}
	case found.last == nil:
		return verdict{progress: reconciling, reason: v1.ReasonConnecting, message: "connecting to " + found.place.address}
	case found.last.err != nil:
		return verdictOf(faultOf(found.last.err, found.place))
	default:
		return verdict{ready: true, reason: v1.ReasonConnected, message: fmt.Sprintf("%s can be used", found.place)}
	}
}

// describe tells what the primaries said of themselves.
func describe(status *v1.CacheStoreStatus, health registry.Health) {
	status.ServerVersion = health.Version
	status.LibraryVersion = int32(health.LibraryVersion) //nolint:gosec // a small number that counts releases
	status.Servers = int32(len(health.Primaries))        //nolint:gosec // a cluster has a thousand at most
	status.Memory = memoryOf(health)
	for _, primary := range health.Primaries {
		status.Mode, status.EvictionPolicy, status.Role = primary.Mode, primary.EvictionPolicy, roleOf(primary)
		if primary.IsReplica {
			return // the one that is worth telling of
		}
	}
}

// show shows figures. Until they are counted after a start of the operator, those that are shown are as good as any guess.
func show(status *v1.CacheStoreStatus, counted *figures) {
	if counted == nil {
		return
	}
	status.Modules = int32(counted.modules) //nolint:gosec // as many as an API server can hold
	status.Keys = counted.keys
}

// warn keeps AtRisk while something endangers users.
func warn(conditions *[]metav1.Condition, warnings []registry.Warning, generation int64, now time.Time) {
	if len(warnings) == 0 {
		meta.RemoveStatusCondition(conditions, v1.ConditionAtRisk)
		return
	}
	v := verdict{ready: true, reason: dangers[warnings[0].Kind], message: messageOf(warnings)}
	v.writeAs(v1.ConditionAtRisk, conditions, generation, now)
}

func messageOf(warnings []registry.Warning) string {
	messages := make([]string, len(warnings))
	for i, warning := range warnings {
		messages[i] = warning.Message
	}
	return strings.Join(messages, ". ")
}

func roleOf(primary registry.Primary) string {
	if primary.IsReplica {
		return "replica"
	}
	return "primary"
}

func memoryOf(health registry.Health) *v1.StoreMemory {
	memory := &v1.StoreMemory{}
	for _, primary := range health.Primaries {
		memory.UsedBytes += primary.UsedMemory
		memory.MaxBytes += primary.MaxMemory
	}
	return memory
}
