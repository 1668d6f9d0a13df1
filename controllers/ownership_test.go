// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/cachepolicy"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/stores/storetest"
	"github.com/cachewright/cachewright/registry"
)

// ourCluster is what the operators of specs take their cluster for.
const ourCluster = "1f8e5c2a-0000-4000-8000-000000000001"

var _ = Describe("A Redis that two clusters share", func() {
	const east, west = "east-uid", "west-uid"
	var (
		on     *stage
		events *controllertest.EventLog
		theirs registry.Claim
	)

	BeforeEach(func(ctx SpecContext) {
		on, events = newStage(ctx), &controllertest.EventLog{}
		theirs = registry.Claim{Slot: on.slot("users"), Owner: west + "/" + on.namespace + "/their-users"}
	})

	reconcilerOf := func(cluster string) *cachepolicy.Reconciler {
		return &cachepolicy.Reconciler{
			Client: k8s, Reader: k8s, Stores: &storetest.Provider{Store: on.cache, Address: on.server.Addr()}, Events: events, Snapshot: stats.NewSnapshot(),
			Clock: clocktesting.NewFakePassiveClock(time.Now()), StatsInterval: time.Minute, WithdrawTimeout: time.Minute, Cluster: cluster,
		}
	}
	settleBy := func(ctx context.Context, cluster string, policy *v1.CachePolicy) *v1.CachePolicy {
		GinkgoHelper()
		result, err := reconcilerOf(cluster).Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(policy)})
		Expect(err).NotTo(HaveOccurred())
		fresh := current(ctx, policy)
		if controllertest.Ready(fresh.Status.Conditions) == "False Contended" {
			Expect(result.RequeueAfter).To(BeNumerically(">", 0), "it does not retry")
		}
		return fresh
	}
	settle := func(ctx context.Context, policy *v1.CachePolicy) *v1.CachePolicy {
		GinkgoHelper()
		return settleBy(ctx, east, policy)
	}
	// theyApply has the other cluster's operator put its policy in force, and an application fill by
	// it.
	theyApply := func(ctx context.Context) {
		GinkgoHelper()
		_, err := on.cache.ApplyPolicyFor(ctx, theirs, registry.Policy{Revision: "theirs", DefaultTTL: new(time.Hour)})
		Expect(err).NotTo(HaveOccurred())
		on.fill(ctx, "users", "theirs", "", 3)
	}
	revision := func(ctx context.Context) string {
		GinkgoHelper()
		policy, _, err := on.cache.Policy(ctx, on.slot("users"))
		Expect(err).NotTo(HaveOccurred())
		return policy.Revision
	}
	annotate := func(ctx context.Context, policy *v1.CachePolicy, cluster string) {
		GinkgoHelper()
		change(ctx, policy, func(p *v1.CachePolicy) {
			p.Annotations = map[string]string{v1.TakeOverFromAnnotation: cluster}
		})
	}
	ours := func(ctx context.Context) *v1.CachePolicy {
		GinkgoHelper()
		policy := controllertest.UsersPolicy()
		policy.Spec.Revision = "ours"
		on.create(ctx, policy)
		return policy
	}

	It("keeps the policy and the entries of the first, and says in the second whose they are", func(ctx SpecContext) {
		theyApply(ctx)
		policy := settle(ctx, ours(ctx))

		Expect(controllertest.Ready(policy.Status.Conditions)).To(Equal("False Contended"))
		Expect(meta.IsStatusConditionTrue(policy.Status.Conditions, v1.ConditionStalled)).To(BeTrue())
		Expect(status.Ready(policy.Status.Conditions).Message).To(And(
			ContainSubstring("CachePolicy "+on.namespace+"/their-users of cluster "+west), ContainSubstring(v1.TakeOverFromAnnotation+": "+west)))
		Expect(policy.Status.AppliedHash).To(BeEmpty())
		Expect(revision(ctx)).To(Equal("theirs"))
		Expect(on.cached(ctx, "users", "theirs", "", 3)).To(Equal(3))

		By("taking over once the other has not renewed its claim for a day")
		Expect(on.redis.PExpire(ctx, "cw:{"+on.slot("users").String()+"}:owner", time.Millisecond).Err()).To(Succeed())
		Eventually(func() string { return controllertest.Ready(settle(ctx, policy).Status.Conditions) }).Should(Equal("True Applied"))
		Expect(revision(ctx)).To(Equal("ours"))
		Expect(resource.IsContended(on.cache.OwnPolicies(ctx, []registry.Claim{theirs}))).To(BeTrue())
	})

	It("hands a module over at once to whom a person names, and only from whom", func(ctx SpecContext) {
		theyApply(ctx)
		policy := ours(ctx)
		annotate(ctx, policy, "north-uid")
		Expect(controllertest.Ready(settle(ctx, policy).Status.Conditions)).To(Equal("False Contended"))

		annotate(ctx, policy, west)
		Expect(controllertest.Ready(settle(ctx, policy).Status.Conditions)).To(Equal("True Applied"))
		Expect(revision(ctx)).To(Equal("ours"))

		By("leaving it, with the same manifest, to the cluster that took it over")
		Expect(controllertest.Ready(settleBy(ctx, west, policy).Status.Conditions)).To(Equal("False Contended"))
	})

	It("says so for a policy that is the same in both", func(ctx SpecContext) {
		policy := settle(ctx, ours(ctx))
		Expect(controllertest.Ready(policy.Status.Conditions)).To(Equal("True Applied"))
		Expect(controllertest.Ready(settleBy(ctx, west, policy).Status.Conditions)).To(Equal("False Contended"))
	})

	It("keeps what is the other's when a policy is deleted", func(ctx SpecContext) {
		policy := settle(ctx, ours(ctx))
		_, err := on.cache.DeletePolicyFor(ctx, registry.Claim{Slot: on.slot("users")})
		Expect(err).NotTo(HaveOccurred())
		theyApply(ctx)
		events.Take()

		Expect(k8s.Delete(ctx, policy)).To(Succeed())
		_, err = reconcilerOf(east).Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(policy)})

		Expect(err).NotTo(HaveOccurred())
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(policy), policy)).To(beGone())
		Expect(events.Take()).To(ConsistOf(ContainSubstring("Normal HandedOver: the policy of module users in Redis belongs to CachePolicy " +
			on.namespace + "/their-users of cluster " + west)))
		Expect(on.cached(ctx, "users", "theirs", "", 3)).To(Equal(3))
	})

	It("is no contention while an operator that knows no owners is replaced, nor for a policy by another name", func(ctx SpecContext) {
		old := ours(ctx)
		Expect(controllertest.Ready(settleBy(ctx, "", old).Status.Conditions)).To(Equal("True Applied"))
		Expect(controllertest.Ready(settle(ctx, old).Status.Conditions)).To(Equal("True Applied"))
		Expect(controllertest.Ready(settleBy(ctx, "", old).Status.Conditions)).To(Equal("True Applied"))

		renamed := controllertest.UsersPolicy()
		renamed.Name = "users-renamed" // of two that are of one second, the name decides
		on.create(ctx, renamed)
		Expect(controllertest.Ready(settle(ctx, renamed).Status.Conditions)).To(Equal("False Conflicted"))
		Expect(k8s.Delete(ctx, old)).To(Succeed())
		Expect(controllertest.Ready(settle(ctx, renamed).Status.Conditions)).To(Equal("True Applied"))
		_, err := reconcilerOf(east).Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(old)})
		Expect(err).NotTo(HaveOccurred())
		Expect(on.cache.OwnPolicies(ctx, []registry.Claim{{Slot: on.slot("users"), Owner: resource.ClaimOf(east, renamed).Owner}})).To(Succeed())
	})
})

var _ = Describe("The operator of a Redis that others use, too", func() {
	var on *stage

	BeforeEach(func(ctx SpecContext) { on = newStage(ctx) })

	It("notices that another cluster has taken a module over, and undoes nothing", func(ctx SpecContext) {
		on.operate(adminConfig, on.quick(on.cache))
		policy := controllertest.UsersPolicy()
		on.create(ctx, policy)
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))

		theirs := registry.Claim{Slot: on.slot("users"), Owner: "west/" + on.namespace + "/users", Over: resource.ClaimOf(ourCluster, policy).Owner}
		_, err := on.cache.ApplyPolicyFor(ctx, theirs, registry.Policy{Revision: "theirs"})
		Expect(err).NotTo(HaveOccurred())

		Eventually(on.policy(ctx, "users")).Should(beReady("False Contended"))
		Expect(on.cache.OwnPolicies(ctx, []registry.Claim{theirs})).To(Succeed())
		found, _, err := on.cache.Policy(ctx, on.slot("users"))
		Expect(err).NotTo(HaveOccurred())
		Expect(found.Revision).To(Equal("theirs"))

		By("taking it back as soon as a person says so")
		change(ctx, policy, func(p *v1.CachePolicy) {
			p.Annotations = map[string]string{v1.TakeOverFromAnnotation: "west"}
		})
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
	})

	It("reports two CacheStores that are one Redis, until one of the policies goes", func(ctx SpecContext) {
		on.operate(adminConfig, on.quick(nil))
		for _, name := range []string{"one", "two"} {
			on.create(ctx, controllertest.StoreTo(name, on.server.Addr()))
		}
		first, second := controllertest.UsersPolicyIn("one"), controllertest.UsersPolicyIn("two")
		first.Name, second.Name = "first", "second"
		on.create(ctx, first)
		Eventually(on.policy(ctx, "first")).Should(beReady("True Applied"))
		on.create(ctx, second)
		Eventually(on.policy(ctx, "second")).Should(beReady("False Contended"))
		Expect(status.Ready(current(ctx, second).Status.Conditions).Message).To(ContainSubstring(on.namespace + "/first of cluster " + ourCluster))
		Expect(controllertest.Ready(current(ctx, first).Status.Conditions)).To(Equal("True Applied"))

		Expect(k8s.Delete(ctx, first)).To(Succeed())
		Eventually(on.policy(ctx, "second")).Should(beReady("True Applied"))
	})
})
