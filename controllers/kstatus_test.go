// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
)

// observer sees every version of every object of a namespace, and holds it against the rules.
type observer struct {
	mu       sync.Mutex
	last     map[string]client.Object
	versions map[string]int
	// read is how Ready read, one after another, of each object.
	read   map[string][]string
	broken []string
}

// observers are those of the stages in use, by namespace.
var observers sync.Map

// observe sees a namespace until the spec ends, and fails the spec if a rule was broken. What the
// spec creates before is not seen.
func observe(namespace string) *observer {
	o := &observer{last: map[string]client.Object{}, versions: map[string]int{}, read: map[string][]string{}}
	observers.Store(namespace, o)
	DeferCleanup(func() {
		observers.Delete(namespace)
		o.mu.Lock()
		defer o.mu.Unlock()
		Expect(o.broken).To(BeEmpty(), "rules of kstatus were broken")
	})
	return o
}

// show shows one of our resources to the observer of its namespace.
func show(e watch.Event) {
	object := e.Object.(client.Object)
	if _, ok := object.(*eventsv1.Event); ok {
		return
	}
	if found, ok := observers.Load(object.GetNamespace()); ok {
		found.(*observer).see(e.Type, object)
	}
}

func (o *observer) see(kind watch.EventType, obj client.Object) {
	if kind != watch.Added && kind != watch.Modified {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	name := observed(obj)
	broken := controllertest.Violations(obj)
	if last := o.last[name]; last != nil {
		broken = append(broken, controllertest.TransitionViolations(last, obj)...)
	}
	for _, rule := range broken {
		o.broken = append(o.broken, fmt.Sprintf("%s/%s: %s: %+v", obj.GetNamespace(), obj.GetName(), rule, controllertest.ConditionedOf(obj)))
	}
	o.last[name] = obj
	o.read[name] = slices.Compact(append(o.read[name], controllertest.Ready(controllertest.ConditionedOf(obj).Conditions)))
	o.versions[obj.GetName()]++
}

func observed(obj client.Object) string { return fmt.Sprintf("%T %s", obj, obj.GetUID()) }

// readings waits for the present version of an object, and returns how Ready read up to it.
func (o *observer) readings(ctx context.Context, obj client.Object) []string {
	GinkgoHelper()
	version := current(ctx, obj).GetResourceVersion()
	var read []string
	Eventually(func(g Gomega) {
		o.mu.Lock()
		defer o.mu.Unlock()
		g.Expect(o.last).To(HaveKey(observed(obj)))
		order, err := resourceversion.CompareResourceVersion(o.last[observed(obj)].GetResourceVersion(), version)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(order).To(BeNumerically(">=", 0))
		read = slices.Clone(o.read[observed(obj)])
	}).Should(Succeed())
	return read
}

// versionsOf returns how many versions of an object there were so far.
func (o *observer) versionsOf(name string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.versions[name]
}

// complete counts the purges that are.
func (o *observer) complete() (count int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, obj := range o.last {
		if purge, ok := obj.(*v1.CacheInvalidation); ok && purge.Status.State == v1.StateComplete {
			count++
		}
	}
	return count
}
