// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// RequestID is the request id of one target of an invalidation.
func RequestID(invalidation *v1.CacheInvalidation, index int) string {
	return fmt.Sprintf("%s/%d", invalidation.UID, index)
}

// Deadline returns when to give up on an invalidation that is not in effect; ok is false if never.
// It counts from creation, so it holds however long the operator was away.
func Deadline(invalidation *v1.CacheInvalidation) (at time.Time, ok bool) {
	seconds := invalidation.Spec.ActiveDeadlineSeconds
	if seconds == nil {
		return time.Time{}, false
	}
	return invalidation.CreationTimestamp.Add(time.Duration(*seconds) * time.Second), true
}

// IsPastDeadline reports whether the deadline of an invalidation has passed.
func IsPastDeadline(invalidation *v1.CacheInvalidation, now time.Time) bool {
	at, ok := Deadline(invalidation)
	return ok && !now.Before(at)
}

// IsFinished reports whether an invalidation completed or failed; both are final.
func IsFinished(invalidation *v1.CacheInvalidation) bool {
	return meta.IsStatusConditionTrue(invalidation.Status.Conditions, v1.ConditionComplete) ||
		meta.IsStatusConditionTrue(invalidation.Status.Conditions, v1.ConditionFailed)
}

// Expiry returns when a finished invalidation has to be deleted; ok is false if never.
func Expiry(invalidation *v1.CacheInvalidation) (at time.Time, ok bool) {
	ttl, done := invalidation.Spec.TTLSecondsAfterFinished, invalidation.Status.CompletionTime
	if ttl == nil || done == nil || GitOpsTool(invalidation) != "" {
		return time.Time{}, false
	}
	return done.Add(time.Duration(*ttl) * time.Second), true
}

const (
	argoTrackingAnnotation = "argocd.argoproj.io/tracking-id"
	argoInstanceLabel      = "argocd.argoproj.io/instance"
	argoHookAnnotation     = "argocd.argoproj.io/hook"
	fluxKustomizationLabel = "kustomize.toolkit.fluxcd.io/name"
	fluxHelmReleaseLabel   = "helm.toolkit.fluxcd.io/name"
)

// GitOpsTool names the tool that would create the resource again if it were deleted, and so
// invalidate again; empty if there is none. Argo CD creates its hooks once a sync, so they may be
// deleted.
func GitOpsTool(invalidation *v1.CacheInvalidation) string {
	labels, annotations := invalidation.Labels, invalidation.Annotations
	_, isHook := annotations[argoHookAnnotation]
	switch {
	case isHook:
		return ""
	case annotations[argoTrackingAnnotation] != "" || labels[argoInstanceLabel] != "":
		return "Argo CD"
	case labels[fluxKustomizationLabel] != "" || labels[fluxHelmReleaseLabel] != "":
		return "Flux"
	default:
		return ""
	}
}
