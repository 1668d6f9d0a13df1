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
	"k8s.io/apimachinery/pkg/runtime"
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

// observe watches a namespace until the spec ends, and fails the spec if a rule was broken.
func observe(ctx context.Context, c client.WithWatch, namespace string) *observer {
	o := &observer{last: map[string]client.Object{}, versions: map[string]int{}, read: map[string][]string{}}
	var done sync.WaitGroup
	var watchers []watch.Interface
	for _, list := range []client.ObjectList{&v1.CachePolicyList{}, &v1.CacheInvalidationList{}, &v1.CacheStoreList{}} {
		watcher, err := c.Watch(ctx, list, client.InNamespace(namespace))
		Expect(err).NotTo(HaveOccurred())
		watchers = append(watchers, watcher)
		done.Go(func() {
			for e := range watcher.ResultChan() {
				o.see(e.Type, e.Object)
			}
		})
	}
	DeferCleanup(func() {
		for _, watcher := range watchers {
			watcher.Stop()
		}
		done.Wait()
		Expect(o.broken).To(BeEmpty(), "rules of kstatus were broken")
	})
	return o
}

func (o *observer) see(kind watch.EventType, seen runtime.Object) {
	obj, ok := seen.(client.Object)
	if !ok || (kind != watch.Added && kind != watch.Modified) {
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
