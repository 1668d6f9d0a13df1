// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chart_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// newCluster returns the control plane with nothing of ours that is cluster-wide, and with the
// kinds of the Prometheus operator.
func newCluster(t *testing.T) *plane {
	t.Helper()
	p, err := startPlane()
	if err != nil {
		t.Fatal(err)
	}
	p.clear(t)
	p.kubectl(t, "apply", "--server-side", "-f", "testdata/prometheus-operator.yaml")
	p.kubectl(t, "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
	return p
}

// clear removes what an earlier test left outside namespaces.
func (p *plane) clear(t *testing.T) {
	t.Helper()
	for _, kind := range []client.ObjectList{&v1.CachePolicyList{}, &v1.CacheInvalidationList{}, &v1.CacheStoreList{}} {
		err := p.List(t.Context(), kind)
		if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
			continue // the CRD is gone
		}
		if err != nil {
			t.Fatal(err)
		}
		p.each(t, kind, p.release)
	}
	for _, kind := range []client.ObjectList{&apiextensionsv1.CustomResourceDefinitionList{}, &rbacv1.ClusterRoleList{}, &rbacv1.ClusterRoleBindingList{}} {
		p.remove(t, kind)
	}
}

// release lets an object be deleted though no operator runs.
func (p *plane) release(t *testing.T, object client.Object) error {
	t.Helper()
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	return client.IgnoreNotFound(p.Patch(t.Context(), object, patch))
}

// remove deletes all objects of a kind that the API server did not make itself, and waits until
// they are gone.
func (p *plane) remove(t *testing.T, kind client.ObjectList) {
	t.Helper()
	gomega.NewWithT(t).Eventually(func() (left int, err error) {
		if err := p.List(t.Context(), kind); err != nil {
			return 0, err
		}
		return left, meta.EachListItem(kind, func(item runtime.Object) error {
			object := item.(client.Object)
			if object.GetLabels()["kubernetes.io/bootstrapping"] != "" || strings.HasSuffix(object.GetName(), ".monitoring.coreos.com") {
				return nil
			}
			left++
			return client.IgnoreNotFound(p.Delete(t.Context(), object))
		})
	}, timeout).Should(gomega.BeZero(), fmt.Sprintf("%T", kind))
}

// each does something with each object of a list.
func (p *plane) each(t *testing.T, kind client.ObjectList, do func(*testing.T, client.Object) error) {
	t.Helper()
	err := meta.EachListItem(kind, func(item runtime.Object) error { return do(t, item.(client.Object)) })
	if err != nil {
		t.Fatal(err)
	}
}

// namespacesMade counts the namespaces, so that each is new.
var namespacesMade atomic.Int64

// namespace creates a namespace whose name begins with a word, and returns its name.
func (p *plane) namespace(t *testing.T, word string) string {
	t.Helper()
	name := fmt.Sprintf("%s-%d", word, namespacesMade.Add(1))
	p.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	return name
}

// restricted creates a namespace that admits only pods of the level restricted.
func (p *plane) restricted(t *testing.T, name string) {
	t.Helper()
	labels := map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}
	err := p.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

func (p *plane) create(t *testing.T, object client.Object) {
	t.Helper()
	if err := p.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}

func (p *plane) get(t *testing.T, object client.Object) {
	t.Helper()
	if err := p.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		t.Fatal(err)
	}
}
