// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// policyFindings is what the steps of a reconcile found out about a CachePolicy.
type policyFindings struct {
	// deleting: the policy is being withdrawn.
	deleting bool
	// gone: the resource is no more, or others hold it.
	gone bool
	// winner is the name of the policy that governs the module instead, if one does.
	winner string
	// suspended: nothing was pushed.
	suspended bool
	// hash of the policy in force; empty: not known to be the one wanted.
	hash string
	// pushed: it was not there before.
	pushed bool
	// purged: a changed revision invalidated the module.
	purged bool
	// restored: the store had lost, or somebody had changed, a policy that was in force.
	restored bool
	// stats of the module, as last counted, if they were.
	stats *registry.Stats
	// fault that ended the reconcile, if one did.
	fault *fault
}

// isOthers says that what is in Redis is another's.
func (f policyFindings) isOthers() bool {
	return f.winner != "" || f.fault != nil && f.fault.reason == v1.ReasonContended
}

// policyStatus turns findings into status.
func policyStatus(policy *v1.CachePolicy, found policyFindings, now time.Time, interval time.Duration) v1.CachePolicyStatus {
	status := *policy.Status.DeepCopy()
	status.ObservedGeneration = policy.Generation
	policyVerdict(policy, found).write(&status.Conditions, policy.Generation, now)
	if found.deleting {
		stamp(status.Conditions, policy.Generation)
	} else {
		acceptance(found).writeAs(v1.ConditionAccepted, &status.Conditions, policy.Generation, now)
	}
	if found.isOthers() {
		status.AppliedHash, status.AppliedRevision, status.Stats = "", "", nil
	}
	if found.hash != "" {
		if purgedBy(policy, found) {
			status.LastPurgeTime = &metav1.Time{Time: now}
		}
		status.AppliedHash, status.AppliedRevision = found.hash, policy.Spec.Revision
	}
	status.Stats = nextStats(status.Stats, found.stats, now, interval)
	return status
}

// purgedBy says whether the revision purged the module. If the operator was stopped between the
// purge and the note of it in status, the store says only that the revision is in force; then the
// revision last noted tells.
func purgedBy(policy *v1.CachePolicy, found policyFindings) bool {
	noted, wanted := policy.Status.AppliedRevision, policy.Spec.Revision
	return found.purged || (noted != "" && wanted != "" && noted != wanted)
}

func policyVerdict(policy *v1.CachePolicy, found policyFindings) verdict {
	module := policy.Spec.Module
	switch {
	case found.fault != nil:
		return verdictOf(found.fault)
	case found.deleting:
		return verdict{
			progress: reconciling, reason: v1.ReasonDeleting,
			message: fmt.Sprintf("the policy of module %s is withdrawn; its entries are being removed from Redis", module),
		}
	case found.winner != "":
		v := acceptance(found)
		v.progress = stuck
		return v
	case found.suspended:
		return verdict{
			ready: true, reason: v1.ReasonSuspended,
			message: fmt.Sprintf("spec.suspend is true: what is in Redis for module %s stays as it is", module),
		}
	case cachesNothing(&policy.Spec):
		return verdict{
			ready: true, reason: v1.ReasonCachesNothing,
			message: fmt.Sprintf("the policy of module %s is in force, and caches nothing: %s", module, whyCachesNothing(&policy.Spec)),
		}
	default:
		return verdict{
			ready: true, reason: v1.ReasonApplied,
			message: fmt.Sprintf("the policy of module %s is in force", module),
		}
	}
}

// cachesNothing says whether a policy lets nothing be cached: it may be meant, and is easily written by mistake.
func cachesNothing(spec *v1.CachePolicySpec) bool {
	return (spec.DefaultTTL == nil || spec.DefaultTTL.Duration == 0) && !slices.ContainsFunc(spec.Operations, func(o v1.OperationPolicy) bool {
		return o.TTL.Duration > 0 || o.NegativeTTL != nil && o.NegativeTTL.Duration > 0
	})
}

func whyCachesNothing(spec *v1.CachePolicySpec) string {
	switch {
	case len(spec.Operations) == 0 && spec.DefaultTTL == nil:
		return "it has neither a defaultTTL nor operations"
	case len(spec.Operations) == 0:
		return "its defaultTTL is 0s"
	default:
		return "each ttl is 0s"
	}
}

// acceptance says whether the policy governs its module.
func acceptance(found policyFindings) verdict {
	if found.winner != "" {
		return verdict{
			reason: v1.ReasonConflicted,
			message: fmt.Sprintf("CachePolicy %s of this namespace is older and governs the same module: delete one of the two",
				found.winner),
		}
	}
	return verdict{ready: true, reason: v1.ReasonAccepted, message: "it governs its module"}
}

// nextStats decides what the snapshot in status becomes. It changes at most once an interval, and
// only when the figures did; the estimate of memory is no reason, as no two are the same.
func nextStats(shown *v1.CacheStats, read *registry.Stats, now time.Time, interval time.Duration) *v1.CacheStats {
	if read == nil {
		return shown
	}
	fresh := statsOf(*read, now)
	if shown == nil {
		return fresh
	}
	unchanged := *fresh
	unchanged.ObservedTime, unchanged.MemoryBytes = shown.ObservedTime, shown.MemoryBytes
	if equality.Semantic.DeepEqual(shown, &unchanged) || now.Sub(shown.ObservedTime.Time) < interval {
		return shown
	}
	return fresh
}

// governing returns the policy that governs, of those for one module of one namespace: the oldest
// that is not being deleted; nil if there is none.
func governing(policies []v1.CachePolicy) *v1.CachePolicy {
	staying := slices.DeleteFunc(slices.Clone(policies), func(p v1.CachePolicy) bool { return !p.DeletionTimestamp.IsZero() })
	if len(staying) == 0 {
		return nil
	}
	oldest := slices.MinFunc(staying, compareAge)
	return &oldest
}

// compareAge orders policies by age; creation times are whole seconds, so names decide between
// those of one second.
func compareAge(a, b v1.CachePolicy) int {
	return cmp.Or(
		a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
		cmp.Compare(a.Name, b.Name),
		cmp.Compare(a.UID, b.UID),
	)
}
