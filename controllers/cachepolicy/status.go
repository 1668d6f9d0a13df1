// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachepolicy

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/registry"
)

// findings is what the steps of a reconcile found out about a CachePolicy.
type findings struct {
	// deleting: the policy is being withdrawn.
	deleting bool
	// gone: the resource is deleted, or others hold it.
	gone bool
	// governor is the name of the policy that governs the module instead, if one does.
	governor string
	// suspended: nothing was pushed.
	suspended bool
	// hash of the policy in force; empty: it is not known to be the wanted one.
	hash string
	// pushed: it was not there before.
	pushed bool
	// purged: a changed revision invalidated the module.
	purged bool
	// withoutLag: the store's function library knows no source lag, so it was left out.
	withoutLag bool
	// restored: the store had lost, or somebody had changed, a policy that was in force.
	restored bool
	// stats of the module, as last read, if they were.
	stats *registry.Stats
	// met is the error that ended the reconcile, if one did.
	met *status.ClassifiedError
}

// isOthers reports whether what is in Redis belongs to another policy.
func (f findings) isOthers() bool {
	return f.governor != "" || f.met != nil && f.met.Reason == v1.ReasonContended
}

// statusOf turns findings into status.
func statusOf(
	policy *v1.CachePolicy, found findings, now time.Time, interval time.Duration,
) v1.CachePolicyStatus {
	next := *policy.Status.DeepCopy()
	next.ObservedGeneration = policy.Generation
	summarize(policy, found).Write(&next.Conditions, policy.Generation, now)
	if found.deleting {
		status.SetObservedGeneration(next.Conditions, policy.Generation)
	} else {
		acceptance(found).WriteAs(v1.ConditionAccepted, &next.Conditions, policy.Generation, now)
	}
	if found.isOthers() {
		next.AppliedHash, next.AppliedRevision, next.Stats = "", "", nil
	}
	if found.hash != "" {
		if purgedBy(policy, found) {
			next.LastPurgeTime = &metav1.Time{Time: now}
		}
		next.AppliedHash, next.AppliedRevision = found.hash, policy.Spec.Revision
	}
	next.Stats = convert.NextStats(next.Stats, found.stats, now, interval)
	return next
}

// purgedBy reports whether the revision purged the module. If the operator was stopped between the
// purge and the write of status, the store only says that the revision is in force. Then the
// revision that status has decides.
func purgedBy(policy *v1.CachePolicy, found findings) bool {
	noted, wanted := policy.Status.AppliedRevision, policy.Spec.Revision
	return found.purged || (noted != "" && wanted != "" && noted != wanted)
}

func summarize(policy *v1.CachePolicy, found findings) status.Summary {
	module := policy.Spec.Module
	switch {
	case found.met != nil:
		return status.SummaryOf(found.met)
	case found.deleting:
		return status.Summary{
			Progress: status.Reconciling, Reason: v1.ReasonDeleting,
			Message: fmt.Sprintf(
				"the policy of module %s is withdrawn; its entries are being removed from Redis", module),
		}
	case found.governor != "":
		s := acceptance(found)
		s.Progress = status.Stalled
		return s
	case found.suspended:
		return status.Summary{
			Ready: true, Reason: v1.ReasonSuspended,
			Message: fmt.Sprintf("spec.suspend is true: what is in Redis for module %s stays as it is",
				module),
		}
	case cachesNothing(&policy.Spec):
		return status.Summary{
			Ready: true, Reason: v1.ReasonCachesNothing,
			Message: fmt.Sprintf("the policy of module %s is in force, and caches nothing: %s", module,
				whyCachesNothing(&policy.Spec)),
		}
	case found.withoutLag:
		return status.Summary{
			Ready: true, Reason: v1.ReasonAppliedWithoutSourceLag,
			Message: fmt.Sprintf("the policy of module %s is in force without its sourceLag: the function "+
				"library in Redis is too old for it. %s", module, status.LoadLibrary),
		}
	default:
		return status.Summary{
			Ready: true, Reason: v1.ReasonApplied,
			Message: fmt.Sprintf("the policy of module %s is in force", module),
		}
	}
}

// cachesNothing reports whether a policy lets nothing be cached. That may be meant, and is easily
// written by mistake.
func cachesNothing(spec *v1.CachePolicySpec) bool {
	return (spec.DefaultTTL == nil || spec.DefaultTTL.Duration == 0) &&
		!slices.ContainsFunc(spec.Operations, func(o v1.OperationPolicy) bool {
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

// acceptance sums up whether the policy governs its module.
func acceptance(found findings) status.Summary {
	if found.governor != "" {
		return status.Summary{
			Reason: v1.ReasonConflicted,
			Message: fmt.Sprintf(
				"CachePolicy %s of this namespace is older and governs the same module: delete one of the two",
				found.governor),
		}
	}
	return status.Summary{Ready: true, Reason: v1.ReasonAccepted, Message: "it governs its module"}
}
