// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachestore

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/stores"
	"github.com/cachewright/cachewright/registry"
)

// findings is what the steps of a reconcile found out about a CacheStore.
type findings struct {
	// location of the store, for messages.
	location status.Location
	// last result of the monitor's probes; nil: there is none yet.
	last *stores.ProbeResult
	// references to a store that is being deleted.
	references references
	// gone: the resource is no more, or others hold it.
	gone bool
}

// statusOf turns findings into status.
func statusOf(store *v1.CacheStore, found findings, now time.Time) v1.CacheStoreStatus {
	next := *store.Status.DeepCopy()
	if found.last != nil && found.last.Version != stores.VersionOf(store) {
		found.last = nil // it may be of another Redis
	}
	if found.last == nil && !found.references.any() && next.ObservedGeneration == store.Generation {
		return next // after a start of the operator, what was found before stays
	}
	summarize(found).Write(&next.Conditions, store.Generation, now)
	if found.last == nil && next.ObservedGeneration != store.Generation ||
		found.last != nil && found.last.Err != nil {
		meta.RemoveStatusCondition(&next.Conditions, v1.ConditionAtRisk) // nobody knows
	}
	next.ObservedGeneration = store.Generation
	if found.last != nil && found.last.Err == nil {
		describe(&next, found.last.Health)
		warn(&next.Conditions, found.last.Health.Warnings(), store.Generation, now)
		show(&next, found.last.Totals)
		showUnclaimed(&next, found.last.Unclaimed)
	}
	status.SetObservedGeneration(next.Conditions, store.Generation)
	// Two probes never find the same memory: it is written when something else changed.
	unchanged := next
	unchanged.Memory = store.Status.Memory
	if equality.Semantic.DeepEqual(unchanged, store.Status) {
		return unchanged
	}
	return next
}

func summarize(found findings) status.Summary {
	switch {
	case found.references.any():
		return status.Summary{
			Progress: status.Reconciling, Reason: v1.ReasonInUse,
			Message: fmt.Sprintf(
				"it is to be deleted, and %d CachePolicies and %d unfinished CacheInvalidations refer to it, "+
					"for example %s: delete those, or wait for the purges",
				found.references.policies, found.references.invalidations, found.references.example),
		}
	case found.last == nil:
		return status.Summary{
			Progress: status.Reconciling, Reason: v1.ReasonConnecting,
			Message: "connecting to " + found.location.Address,
		}
	case found.last.Err != nil:
		return status.SummaryOf(status.Classify(found.last.Err, found.location))
	default:
		return status.Summary{
			Ready: true, Reason: v1.ReasonConnected, Message: fmt.Sprintf("%s can be used", found.location),
		}
	}
}

// describe sets what the primaries said of themselves.
func describe(next *v1.CacheStoreStatus, health registry.Health) {
	next.ServerVersion = health.Version
	next.LibraryVersion = int32(health.LibraryVersion) //nolint:gosec // counts releases
	next.Servers = int32(len(health.Primaries))        //nolint:gosec // a thousand at most
	next.Memory = memoryOf(health)
	for _, primary := range health.Primaries {
		next.Mode, next.EvictionPolicy, next.Role = primary.Mode, primary.EvictionPolicy, roleOf(primary)
		if primary.IsReplica {
			return // the one that needs attention
		}
	}
}

// show sets the totals. Until they are read after a start of the operator, the former ones stay.
func show(next *v1.CacheStoreStatus, totals *stats.Totals) {
	if totals == nil {
		return
	}
	next.Modules = int32(totals.Modules) //nolint:gosec // as many as an API server can hold
	next.Keys = totals.Keys
}

// showUnclaimed sets the names that no policy lists. Until they are read, the former ones stay.
func showUnclaimed(next *v1.CacheStoreStatus, unclaimed *stats.Unclaimed) {
	if unclaimed == nil {
		return
	}
	next.Unclaimed = int32(len(unclaimed.Names)) //nolint:gosec // 64 at most
	next.UnclaimedNames = unclaimed.Names
}

// warn sets AtRisk while something endangers users.
func warn(
	conditions *[]metav1.Condition, warnings []registry.Warning, generation int64, now time.Time,
) {
	if len(warnings) == 0 {
		meta.RemoveStatusCondition(conditions, v1.ConditionAtRisk)
		return
	}
	s := status.Summary{
		Ready: true, Reason: convert.RiskReasons[warnings[0].Kind],
		Message: convert.WarningMessage(warnings),
	}
	s.WriteAs(v1.ConditionAtRisk, conditions, generation, now)
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
