// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/kubetest"
)

// deploys reports whether one of the lines installs the operator by make.
func deploys(commands []string) bool {
	return slices.ContainsFunc(commands, func(line string) bool {
		return strings.HasPrefix(line, "make ") && slices.Contains(strings.Fields(line), "deploy")
	})
}

// namedImage is the image that a line loads into a cluster, or gives to make.
var namedImage = regexp.MustCompile(`(?m)^(?:kind load docker-image|make .*\bdeploy .*\bIMG)[ =](\S+)$`)

// wantImage fails if the operator was installed with another image than the page names.
func (r *reader) wantImage(t *testing.T, name string) {
	t.Helper()
	named := namedImage.FindStringSubmatch(page(t, pathOf(name)))
	if named == nil {
		t.Fatalf("%s names no image", name)
	}
	if image := r.operator(t).Spec.Template.Spec.Containers[0].Image; image != named[1] {
		t.Errorf("%s: the operator was installed with the image %s, want %s", name, image, named[1])
	}
}

func (r *reader) operator(t *testing.T) *appsv1.Deployment {
	t.Helper()
	deployment := new(appsv1.Deployment)
	if err := r.Get(t.Context(), client.ObjectKey{Namespace: system, Name: "cachewright-controller-manager"}, deployment); err != nil {
		t.Fatal(err)
	}
	return deployment
}

// rollOut writes the status that the controller of Deployments would write.
func (r *reader) rollOut(t *testing.T) {
	t.Helper()
	deployment := r.operator(t)
	deployment.Status = kubetest.RolledOut(deployment)
	if err := r.Status().Update(t.Context(), deployment); err != nil {
		t.Fatal(err)
	}
}

// finishEverything writes the status that the operator would write.
func (r *reader) finishEverything(t *testing.T) {
	t.Helper()
	for _, list := range []client.ObjectList{&v1.CachePolicyList{}, &v1.CacheInvalidationList{}, &v1.CacheStoreList{}} {
		if err := r.List(t.Context(), list, client.InNamespace("shop")); err != nil {
			t.Fatal(err)
		}
		err := meta.EachListItem(list, func(item runtime.Object) error {
			object := item.(client.Object)
			finish(object)
			return r.Status().Update(t.Context(), object)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func finish(object client.Object) {
	done := func(types ...string) (conditions []metav1.Condition) {
		for _, name := range types {
			conditions = append(conditions, metav1.Condition{Type: name, Status: metav1.ConditionTrue, Reason: "Done", LastTransitionTime: metav1.Now()})
		}
		return conditions
	}
	switch o := object.(type) {
	case *v1.CachePolicy:
		o.Status = v1.CachePolicyStatus{ObservedGeneration: o.Generation, Conditions: done(v1.ConditionReady)}
	case *v1.CacheStore:
		o.Status = v1.CacheStoreStatus{ObservedGeneration: o.Generation, Conditions: done(v1.ConditionReady)}
	case *v1.CacheInvalidation:
		o.Status = v1.CacheInvalidationStatus{
			ObservedGeneration: o.Generation, Conditions: done(v1.ConditionReady, v1.ConditionComplete), EffectiveTime: new(metav1.NowMicro()),
		}
	}
}
