// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// deadline returns when to give up on a purge that is not in effect; ok is false if never. It
// counts from creation, so it holds however long the operator was away.
func deadline(invalidation *v1.CacheInvalidation) (at time.Time, ok bool) {
	seconds := invalidation.Spec.ActiveDeadlineSeconds
	if seconds == nil {
		return time.Time{}, false
	}
	return invalidation.CreationTimestamp.Add(time.Duration(*seconds) * time.Second), true
}

func deadlinePassed(invalidation *v1.CacheInvalidation, now time.Time) bool {
	at, ok := deadline(invalidation)
	return ok && !now.Before(at)
}

// finished says whether a purge completed or failed; both are final.
func finished(invalidation *v1.CacheInvalidation) bool {
	return meta.IsStatusConditionTrue(invalidation.Status.Conditions, v1.ConditionComplete) ||
		meta.IsStatusConditionTrue(invalidation.Status.Conditions, v1.ConditionFailed)
}

// expiry returns when a finished purge is to be deleted; ok is false if never.
func expiry(invalidation *v1.CacheInvalidation) (at time.Time, ok bool) {
	ttl, done := invalidation.Spec.TTLSecondsAfterFinished, invalidation.Status.CompletionTime
	if ttl == nil || done == nil || gitOpsTool(invalidation) != "" {
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

// gitOpsTool names the tool that would create the resource again if it were deleted, and so purge
// again; empty if there is none. Argo CD creates its hooks once a sync, so they may go.
func gitOpsTool(invalidation *v1.CacheInvalidation) string {
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
