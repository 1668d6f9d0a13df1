// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
)

func TestExpiry(t *testing.T) {
	done := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	tests := []struct {
		name        string
		ttl         *int32
		done        *metav1.Time
		labels      map[string]string
		annotations map[string]string
		tool        string
		expires     bool
	}{
		{name: "no TTL", done: &done},
		{name: "not finished", ttl: new(int32(5))},
		{name: "finished", ttl: new(int32(5)), done: &done, expires: true},
		{
			name: "tracked by Argo CD", ttl: new(int32(5)), done: &done, tool: "Argo CD",
			annotations: map[string]string{"argocd.argoproj.io/tracking-id": "x"},
		},
		{
			name: "labelled by Argo CD", ttl: new(int32(5)), done: &done, tool: "Argo CD",
			labels: map[string]string{"argocd.argoproj.io/instance": "x"},
		},
		{
			name: "a hook of Argo CD", ttl: new(int32(5)), done: &done, expires: true,
			annotations: map[string]string{"argocd.argoproj.io/tracking-id": "x", "argocd.argoproj.io/hook": "PostSync"},
		},
		{
			name: "of a Flux Kustomization", ttl: new(int32(5)), done: &done, tool: "Flux",
			labels: map[string]string{"kustomize.toolkit.fluxcd.io/name": "x"},
		},
		{
			name: "of a Flux HelmRelease", ttl: new(int32(5)), done: &done, tool: "Flux",
			labels: map[string]string{"helm.toolkit.fluxcd.io/name": "x"},
		},
		{
			name: "of plain Helm", ttl: new(int32(5)), done: &done, expires: true,
			labels: map[string]string{"app.kubernetes.io/instance": "x", "app.kubernetes.io/managed-by": "Helm"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			invalidation := &v1.CacheInvalidation{ObjectMeta: metav1.ObjectMeta{Labels: test.labels, Annotations: test.annotations}}
			invalidation.Spec.TTLSecondsAfterFinished, invalidation.Status.CompletionTime = test.ttl, test.done
			at, expires := Expiry(invalidation)
			if expires != test.expires || expires && !at.Equal(done.Add(5*time.Second)) {
				t.Errorf("expires %t at %s; want %t", expires, at, test.expires)
			}
			if tool := GitOpsTool(invalidation); tool != test.tool {
				t.Errorf("managed by %q; want %q", tool, test.tool)
			}
		})
	}
}
