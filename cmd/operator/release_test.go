// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// kinds are those that the operator puts finalizers on.
func kinds() []client.ObjectList {
	return []client.ObjectList{&v1.CachePolicyList{}, &v1.CacheInvalidationList{}, &v1.CacheStoreList{}}
}

// held counts the objects of a namespace, and those of them that wait for the operator.
func (c *cluster) held(t *testing.T, namespace string) (all, waiting int) {
	t.Helper()
	for _, list := range kinds() {
		if err := c.List(t.Context(), list, client.InNamespace(namespace)); err != nil {
			t.Fatal(err)
		}
		c.each(t, list, func(_ *testing.T, o client.Object) error {
			all++
			if slices.ContainsFunc(o.GetFinalizers(), func(f string) bool { return strings.HasPrefix(f, "cachewright.io/") }) {
				waiting++
			}
			return nil
		})
	}
	return all, waiting
}

// fill makes the operator put each of its finalizers on objects of a namespace.
func (c *cluster) fill(t *testing.T, namespace string) {
	t.Helper()
	g := gomega.NewWithT(t)
	g.SetDefaultEventuallyTimeout(timeout)
	c.storeWithSecret(t, namespace)
	for i := range 20 {
		policy := policyOf(namespace)
		policy.Name = fmt.Sprintf("module-%d", i)
		policy.Spec.Module = policy.Name
		c.create(t, policy)
	}
	purge := purgeOf(namespace, "hold")
	purge.Spec.Targets[0].Module, purge.Spec.HoldFor = "module-0", &metav1.Duration{Duration: time.Hour}
	c.create(t, purge)
	g.Eventually(func() int { _, waiting := c.held(t, namespace); return waiting }).Should(gomega.Equal(22))
}

// While an operator runs, and is started again as often as it ends, its finalizers are released,
// and it does not put them back. Once it is gone, a namespace full of policies can be deleted.
func TestReleasedResourcesGoWithoutAnOperator(t *testing.T) {
	on := newCluster(t)
	on.kubectl(t, "apply", "--server-side", "-f", on.build(t, "default"))
	shop := on.namespace(t, "shop")
	operator := on.operate(t, "--metrics-bind-address=0")
	on.fill(t, shop)

	if code, said := on.operate(t, "--release-finalizers").exit(t); code != 0 || !strings.Contains(said, `"Released all"`) {
		t.Fatalf("it ended with %d", code)
	}
	released := time.Now()
	if _, waiting := on.held(t, shop); waiting > 0 {
		t.Errorf("%d objects wait for the operator", waiting)
	}
	if code, said := operator.exit(t); code != 1 || !strings.Contains(said, "leader election lost") {
		t.Errorf("the operator that ran ended with %d", code)
	}
	again := on.operate(t, "--metrics-bind-address=0")
	g := gomega.NewWithT(t)
	g.Eventually(again.output.String, timeout).Should(gomega.ContainSubstring("Attempting to acquire leader lease"))
	// On a machine that is too busy, the new operator comes when it may lead again.
	g.Consistently(func() int {
		_, waiting := on.held(t, shop)
		if time.Since(released) > resignation-5*time.Second {
			return 0
		}
		return waiting
	}, 3*time.Second).Should(gomega.BeZero())
	again.endInPeace(t)

	for _, kind := range []string{"cpol", "cinv", "cstore"} {
		on.kubectl(t, "delete", kind, "--all", "-n", shop, "--timeout=60s")
	}
	if all, _ := on.held(t, shop); all > 0 {
		t.Errorf("%d objects are left", all)
	}
	if _, refused := requestsOf(t, on, "system:serviceaccount:"+account.Namespace+":"+account.Name); len(refused) > 0 {
		t.Errorf("the rights of the operator do not suffice: %v", refused)
	}
}

// An operator of some namespaces releases these alone, with the rights that it has there. One
// without rights stops no other.
func TestAnOperatorOfSomeNamespacesReleasesTheseAlone(t *testing.T) {
	on := newCluster(t)
	on.kubectl(t, "apply", "--server-side", "-k", on.config("crd"))
	on.kubectl(t, "apply", "--server-side", "-k", on.config("namespaced"))
	shop, shut, stranger := on.namespace(t, "shop"), on.namespace(t, "shut"), on.namespace(t, "stranger")
	on.kubectl(t, "apply", "--server-side", "-k", on.config("watched-namespace"), "-n", shop)
	for _, namespace := range []string{shop, shut, stranger} {
		policy := policyOf(namespace)
		policy.Finalizers = []string{"example.com/theirs", v1.CachePolicyFinalizer}
		on.create(t, policy)
	}

	code, said := on.operate(t, "--release-finalizers", "--watch-namespaces="+shop+","+shut).exit(t)
	if code != 0 || !strings.Contains(said, "No access to a namespace, what is in it keeps its finalizers") {
		t.Errorf("it ended with %d", code)
	}
	for namespace, want := range map[string]int{shop: 1, shut: 2, stranger: 2} {
		policy := policyOf(namespace)
		on.get(t, policy)
		if len(policy.Finalizers) != want || policy.Finalizers[0] != "example.com/theirs" {
			t.Errorf("in %s the policy has the finalizers %q", namespace, policy.Finalizers)
		}
	}

	code, said = on.operate(t, "--release-finalizers", "--watch-namespaces="+shut).exit(t)
	if code != 1 || !strings.Contains(said, "run it with the rights of the operator, before these are removed") {
		t.Errorf("without any rights it ended with %d", code)
	}
}

func TestNothingIsReleasedWithoutCRDs(t *testing.T) {
	on := newCluster(t)
	code, said := start(t, nil, "--release-finalizers", "--kubeconfig="+on.kubeconfig).exit(t)
	if code != 0 || !strings.Contains(said, "stop it first") {
		t.Errorf("it ended with %d", code)
	}
	code, said = start(t, nil, "--release-finalizers", "--leader-elect", "--kubeconfig="+on.kubeconfig).exit(t)
	if code != 1 || !strings.Contains(said, "--leader-election-namespace is required outside a cluster") {
		t.Errorf("it ended with %d", code)
	}
}

// Objects that change meanwhile are tried again. What an admission policy forbids stops nothing
// else, and is named when the time is over.
func TestWhatCannotBeReleasedAtFirstIsTriedAgain(t *testing.T) {
	var objects []client.Object
	for _, name := range []string{"a", "b", "c"} {
		policy := policyOf("shop")
		policy.Name, policy.Finalizers = name, []string{v1.CachePolicyFinalizer}
		objects = append(objects, policy)
	}
	scheme := runtime.NewScheme()
	if err := v1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	tries := map[string]int{}
	forbidden := ""
	api := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
			mu.Lock()
			defer mu.Unlock()
			name := o.GetName()
			tries[name]++
			if name == forbidden {
				return apierrors.NewForbidden(v1.GroupVersion.WithResource("cachepolicies").GroupResource(), name, errors.New("by a rule"))
			}
			if name == "b" && tries[name] == 1 { // somebody was faster
				changed := policyOf("shop")
				changed.Name = name
				if err := c.Get(ctx, client.ObjectKeyFromObject(changed), changed); err != nil {
					return err
				}
				changed.Spec.Suspend = true
				if err := c.Update(ctx, changed); err != nil {
					return err
				}
			}
			return c.Patch(ctx, o, patch, options...)
		},
	}).Build()
	left := func() (names []string) {
		var list v1.CachePolicyList
		if err := api.List(t.Context(), &list); err != nil {
			t.Fatal(err)
		}
		for _, p := range list.Items {
			if len(p.Finalizers) > 0 {
				names = append(names, p.Name)
			}
		}
		return names
	}

	forbidden = "a"
	ctx, cancel := context.WithTimeout(t.Context(), 3*releaseRetry)
	defer cancel()
	err := (&releaser{api: api, log: logr.Discard()}).release(ctx, nil)
	if err == nil || !strings.Contains(err.Error(), "shop/a") || !strings.Contains(err.Error(), "may keep their finalizers") {
		t.Errorf("it says %v", err)
	}
	if names := left(); !slices.Equal(names, []string{"a"}) || tries["b"] != 2 {
		t.Errorf("%q keep their finalizers, b was tried %d times", names, tries["b"])
	}

	forbidden = ""
	if err := (&releaser{api: api, log: logr.Discard()}).release(t.Context(), nil); err != nil || len(left()) > 0 {
		t.Errorf("it says %v, and %q keep their finalizers", err, left())
	}
}
