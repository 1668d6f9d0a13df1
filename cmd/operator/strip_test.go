// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
)

func TestTheCacheKeepsWhatIsRead(t *testing.T) {
	policy := &v1.CachePolicy{ObjectMeta: metav1.ObjectMeta{
		Name:          "users",
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
		Annotations: map[string]string{
			"kubectl.kubernetes.io/last-applied-configuration": "{}", "argocd.argoproj.io/tracking-id": "shop",
		},
	}}
	if _, err := strip(policy); err != nil {
		t.Fatal(err)
	}
	if len(policy.ManagedFields) > 0 {
		t.Error("who wrote which field was kept")
	}
	if want := map[string]string{"argocd.argoproj.io/tracking-id": "shop"}; policy.Name != "users" || !maps.Equal(policy.Annotations, want) {
		t.Errorf("it has %+v; want the annotations %v", policy.ObjectMeta, want)
	}
	if untouched, err := strip("no object"); err != nil || untouched != "no object" {
		t.Errorf("got %v (%v)", untouched, err)
	}
}
