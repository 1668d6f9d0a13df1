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
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// conditioned is what the rules of kstatus speak of.
type conditioned struct {
	generation         int64
	observedGeneration int64
	conditions         []metav1.Condition
}

func conditionedOf(obj client.Object) conditioned {
	switch o := obj.(type) {
	case *v1.CachePolicy:
		return conditioned{o.Generation, o.Status.ObservedGeneration, o.Status.Conditions}
	case *v1.CacheInvalidation:
		return conditioned{o.Generation, o.Status.ObservedGeneration, o.Status.Conditions}
	case *v1.CacheStore:
		return conditioned{o.Generation, o.Status.ObservedGeneration, o.Status.Conditions}
	default:
		panic(fmt.Sprintf("no rules for a %T", obj))
	}
}

// kstatusViolations lists the rules that one version of an object breaks.
func kstatusViolations(obj client.Object) []string {
	broken := violationsOfAny(conditionedOf(obj))
	if invalidation, ok := obj.(*v1.CacheInvalidation); ok {
		broken = append(broken, violationsOfInvalidation(invalidation)...)
	}
	return broken
}

func violationsOfAny(c conditioned) []string {
	var broken []string
	violated := func(is bool, rule string) {
		if is {
			broken = append(broken, rule)
		}
	}
	if c.observedGeneration == -1 {
		violated(len(c.conditions) > 0, "an object that was not observed has no conditions")
		return broken
	}
	violated(c.observedGeneration > c.generation, "what is not there yet is not observed")
	for _, condition := range c.conditions {
		violated(condition.ObservedGeneration != c.observedGeneration, condition.Type+" speaks of the generation that status speaks of")
		violated(condition.Reason == "" || condition.Message == "", condition.Type+" has a reason and a message")
		onlyTrue := []string{v1.ConditionReconciling, v1.ConditionStalled, v1.ConditionComplete, v1.ConditionFailed, v1.ConditionAtRisk}
		violated(slices.Contains(onlyTrue, condition.Type) && condition.Status != metav1.ConditionTrue,
			condition.Type+" is there only while it is True")
	}
	ready := readyOf(c.conditions)
	if ready == nil {
		return append(broken, "Ready is always there")
	}
	working := meta.IsStatusConditionTrue(c.conditions, v1.ConditionReconciling)
	stalled := meta.IsStatusConditionTrue(c.conditions, v1.ConditionStalled)
	violated(working && stalled, "Reconciling and Stalled exclude each other")
	violated(ready.Status == metav1.ConditionTrue && (working || stalled), "what is Ready is neither Reconciling nor Stalled")
	violated(ready.Status != metav1.ConditionTrue && !working && !stalled, "what is not Ready is Reconciling or Stalled")
	return broken
}

func violationsOfInvalidation(invalidation *v1.CacheInvalidation) []string {
	var broken []string
	violated := func(is bool, rule string) {
		if is {
			broken = append(broken, rule)
		}
	}
	s := invalidation.Status
	complete := meta.IsStatusConditionTrue(s.Conditions, v1.ConditionComplete)
	failed := meta.IsStatusConditionTrue(s.Conditions, v1.ConditionFailed)
	violated(complete && failed, "Complete and Failed exclude each other")
	violated(complete != meta.IsStatusConditionTrue(s.Conditions, v1.ConditionReady), "Complete and Ready agree")
	violated(complete != (s.State == v1.StateComplete || s.State == v1.StateCounted), "Complete and state agree")
	violated(failed != (s.State == v1.StateFailed), "Failed and state agree")
	violated(failed && !meta.IsStatusConditionTrue(s.Conditions, v1.ConditionStalled), "what is Failed is Stalled")
	violated((complete || failed) != (s.CompletionTime != nil), "what is finished has a completionTime")
	violated(s.KeysReclaimed != nil && *s.KeysReclaimed > *s.KeysInvalidated, "no more is reclaimed than was invalidated")
	violated(s.State == v1.StateReclaiming && s.EffectiveTime == nil, "what is being reclaimed is in effect")
	return broken
}

// transitionViolations lists the rules that a change from one version of an object to the next breaks.
func transitionViolations(before, after client.Object) []string {
	var broken []string
	was, is := conditionedOf(before), conditionedOf(after)
	if is.observedGeneration < was.observedGeneration {
		broken = append(broken, "observedGeneration never falls")
	}
	for _, condition := range is.conditions {
		old := meta.FindStatusCondition(was.conditions, condition.Type)
		if old != nil && old.Status == condition.Status && !old.LastTransitionTime.Equal(&condition.LastTransitionTime) {
			broken = append(broken, "lastTransitionTime of "+condition.Type+" changes with its status only")
		}
	}
	if purge, ok := before.(*v1.CacheInvalidation); ok {
		broken = append(broken, purgeTransitionViolations(purge, after.(*v1.CacheInvalidation))...)
	}
	return broken
}

func purgeTransitionViolations(before, after *v1.CacheInvalidation) []string {
	var broken []string
	if finished(before) && !equality.Semantic.DeepEqual(before.Status, after.Status) {
		broken = append(broken, "the status of what is finished does not change")
	}
	if before.Status.KeysReclaimed != nil && *after.Status.KeysReclaimed < *before.Status.KeysReclaimed {
		broken = append(broken, "keysReclaimed never falls")
	}
	if before.Status.EffectiveTime != nil && !before.Status.EffectiveTime.Equal(after.Status.EffectiveTime) {
		broken = append(broken, "a purge takes effect once")
	}
	return broken
}

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
	broken := kstatusViolations(obj)
	if last := o.last[name]; last != nil {
		broken = append(broken, transitionViolations(last, obj)...)
	}
	for _, rule := range broken {
		o.broken = append(o.broken, fmt.Sprintf("%s/%s: %s: %+v", obj.GetNamespace(), obj.GetName(), rule, conditionedOf(obj)))
	}
	o.last[name] = obj
	o.read[name] = slices.Compact(append(o.read[name], ready(conditionedOf(obj).conditions)))
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
