// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// effect is an invalidation that took effect or, while it is under way, may have. Of its status,
// only the time and the targets are kept.
type effect struct {
	*v1.CacheInvalidation
	underWay bool
}

// includes reports whether a target has to be repeated with the invalidation.
func (e effect) includes(index int) bool {
	if len(e.Status.Targets) == 0 {
		return true // all took effect, or may have
	}
	return index < len(e.Status.Targets) && e.Status.Targets[index].Modules > 0
}

// asOf keeps of an invalidation what it takes to repeat it.
func asOf(invalidation *v1.CacheInvalidation, effective metav1.MicroTime) *v1.CacheInvalidation {
	return &v1.CacheInvalidation{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: invalidation.Namespace, Name: invalidation.Name, UID: invalidation.UID,
		},
		Spec:   invalidation.Spec,
		Status: v1.CacheInvalidationStatus{EffectiveTime: &effective},
	}
}

func tookEffect(invalidation *v1.CacheInvalidation, since time.Time) bool {
	return !invalidation.Status.EffectiveTime.Time.Before(since)
}

// recordedEffect returns an invalidation as far as its status says that it took effect, and when;
// nil: not at all, or not yet. Some targets of one that was given up may have taken effect.
func recordedEffect(invalidation *v1.CacheInvalidation) *v1.CacheInvalidation {
	status := &invalidation.Status
	switch {
	case invalidation.Spec.DryRun:
		return nil
	case status.EffectiveTime != nil:
		return asOf(invalidation, *status.EffectiveTime)
	case status.CompletionTime != nil:
		return partialEffect(invalidation, metav1.NewMicroTime(status.CompletionTime.Time))
	default:
		return nil
	}
}

// partialEffect returns an invalidation with those targets that took effect by its status, at the
// latest at a time; nil: none did.
func partialEffect(invalidation *v1.CacheInvalidation, at metav1.MicroTime) *v1.CacheInvalidation {
	took := func(result v1.TargetResult) bool { return result.Modules > 0 }
	if invalidation.Spec.DryRun || !slices.ContainsFunc(invalidation.Status.Targets, took) {
		return nil
	}
	part := asOf(invalidation, at)
	part.Status.Targets = invalidation.Status.Targets
	return part
}
