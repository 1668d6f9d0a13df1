// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// ourCluster is what the operators of specs take their cluster for.
const ourCluster = "1f8e5c2a-0000-4000-8000-000000000001"

var _ = Describe("A Redis that two clusters share", func() {
	const east, west = "east-uid", "west-uid"
	var (
		on     *stage
		events *eventLog
		theirs registry.Claim
	)

	BeforeEach(func(ctx SpecContext) {
		on, events = newStage(ctx), &eventLog{}
		theirs = registry.Claim{Slot: on.slot("users"), Owner: west + "/" + on.namespace + "/their-users"}
	})

	reconcilerOf := func(cluster string) *CachePolicyReconciler {
		return &CachePolicyReconciler{
			Client: k8s, Reader: k8s, Stores: &oneStore{store: on.cache, address: on.server.Addr()}, Events: events, Metrics: NewMetrics(),
			Clock: clocktesting.NewFakePassiveClock(time.Now()), StatsInterval: time.Minute, WithdrawTimeout: time.Minute, Cluster: cluster,
		}
	}
	settleBy := func(ctx context.Context, cluster string, policy *v1.CachePolicy) *v1.CachePolicy {
		GinkgoHelper()
		result, err := reconcilerOf(cluster).Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(policy)})
		Expect(err).NotTo(HaveOccurred())
		fresh := current(ctx, policy)
		if ready(fresh.Status.Conditions) == "False Contended" {
			Expect(result.RequeueAfter).To(BeNumerically(">", 0), "it does not look again")
		}
		return fresh
	}
	settle := func(ctx context.Context, policy *v1.CachePolicy) *v1.CachePolicy {
		GinkgoHelper()
		return settleBy(ctx, east, policy)
	}
	// theyApply has the other cluster's operator put its policy in force, and an application fill by it.
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
		fresh := current(ctx, policy)
		fresh.Annotations = map[string]string{v1.TakeOverFromAnnotation: cluster}
		Expect(k8s.Update(ctx, fresh)).To(Succeed())
	}
	ours := func(ctx context.Context) *v1.CachePolicy {
		GinkgoHelper()
		policy := usersPolicy()
		policy.Spec.Revision = "ours"
		on.create(ctx, policy)
		return policy
	}

	It("keeps the policy and the entries of the first, and tells the second whose they are", func(ctx SpecContext) {
		theyApply(ctx)
		policy := settle(ctx, ours(ctx))

		Expect(ready(policy.Status.Conditions)).To(Equal("False Contended"))
		Expect(meta.IsStatusConditionTrue(policy.Status.Conditions, v1.ConditionStalled)).To(BeTrue())
		Expect(readyOf(policy.Status.Conditions).Message).To(And(
			ContainSubstring("CachePolicy "+on.namespace+"/their-users of cluster "+west), ContainSubstring(v1.TakeOverFromAnnotation+": "+west)))
		Expect(policy.Status.AppliedHash).To(BeEmpty())
		Expect(revision(ctx)).To(Equal("theirs"))
		Expect(on.cached(ctx, "users", "theirs", "", 3)).To(Equal(3))

		By("taking over once the other has not renewed its claim for a day")
		Expect(on.redis.PExpire(ctx, "cw:{"+on.slot("users").String()+"}:owner", time.Millisecond).Err()).To(Succeed())
		Eventually(func() string { return ready(settle(ctx, policy).Status.Conditions) }).Should(Equal("True Applied"))
		Expect(revision(ctx)).To(Equal("ours"))
		Expect(isContention(on.cache.OwnPolicies(ctx, []registry.Claim{theirs}))).To(BeTrue())
	})

	It("hands a module over at once to whom a person names, and only from whom", func(ctx SpecContext) {
		theyApply(ctx)
		policy := ours(ctx)
		annotate(ctx, policy, "north-uid")
		Expect(ready(settle(ctx, policy).Status.Conditions)).To(Equal("False Contended"))

		annotate(ctx, policy, west)
		Expect(ready(settle(ctx, policy).Status.Conditions)).To(Equal("True Applied"))
		Expect(revision(ctx)).To(Equal("ours"))

		By("leaving it, with the same manifest, to the cluster that took it over")
		Expect(ready(settleBy(ctx, west, policy).Status.Conditions)).To(Equal("False Contended"))
	})

	It("says so for a policy that is the same in both", func(ctx SpecContext) {
		policy := settle(ctx, ours(ctx))
		Expect(ready(policy.Status.Conditions)).To(Equal("True Applied"))
		Expect(ready(settleBy(ctx, west, policy).Status.Conditions)).To(Equal("False Contended"))
	})

	It("keeps what is the other's when a policy is deleted", func(ctx SpecContext) {
		policy := settle(ctx, ours(ctx))
		_, err := on.cache.DeletePolicyFor(ctx, registry.Claim{Slot: on.slot("users")})
		Expect(err).NotTo(HaveOccurred())
		theyApply(ctx)
		events.take()

		Expect(k8s.Delete(ctx, policy)).To(Succeed())
		_, err = reconcilerOf(east).Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(policy)})

		Expect(err).NotTo(HaveOccurred())
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(policy), policy)).To(beGone())
		Expect(events.take()).To(ConsistOf(ContainSubstring("Normal HandedOver: the policy of module users in Redis belongs to CachePolicy " +
			on.namespace + "/their-users of cluster " + west)))
		Expect(on.cached(ctx, "users", "theirs", "", 3)).To(Equal(3))
	})

	It("is no contention while an operator that knows no owners is replaced, nor for a policy by another name", func(ctx SpecContext) {
		old := ours(ctx)
		Expect(ready(settleBy(ctx, "", old).Status.Conditions)).To(Equal("True Applied"))
		Expect(ready(settle(ctx, old).Status.Conditions)).To(Equal("True Applied"))
		Expect(ready(settleBy(ctx, "", old).Status.Conditions)).To(Equal("True Applied"))

		renamed := usersPolicy()
		renamed.Name = "users-renamed" // of two that are of one second, the name decides
		on.create(ctx, renamed)
		Expect(ready(settle(ctx, renamed).Status.Conditions)).To(Equal("False Conflicted"))
		Expect(k8s.Delete(ctx, old)).To(Succeed())
		Expect(ready(settle(ctx, renamed).Status.Conditions)).To(Equal("True Applied"))
		_, err := reconcilerOf(east).Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(old)})
		Expect(err).NotTo(HaveOccurred())
		Expect(on.cache.OwnPolicies(ctx, []registry.Claim{{Slot: on.slot("users"), Owner: ownerOf(east, renamed).String()}})).To(Succeed())
	})
})

var _ = Describe("The operator of a Redis that others use, too", func() {
	var on *stage

	BeforeEach(func(ctx SpecContext) { on = newStage(ctx) })

	It("notices that another cluster has taken a module over, and undoes nothing", func(ctx SpecContext) {
		on.operate(adminConfig, on.quick(on.cache))
		policy := usersPolicy()
		on.create(ctx, policy)
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))

		theirs := registry.Claim{Slot: on.slot("users"), Owner: "west/" + on.namespace + "/users", Over: ownerOf(ourCluster, policy).String()}
		_, err := on.cache.ApplyPolicyFor(ctx, theirs, registry.Policy{Revision: "theirs"})
		Expect(err).NotTo(HaveOccurred())

		Eventually(on.policy(ctx, "users")).Should(beReady("False Contended"))
		Expect(on.cache.OwnPolicies(ctx, []registry.Claim{theirs})).To(Succeed())
		found, _, err := on.cache.Policy(ctx, on.slot("users"))
		Expect(err).NotTo(HaveOccurred())
		Expect(found.Revision).To(Equal("theirs"))

		By("taking it back as soon as a person says so")
		fresh := current(ctx, policy)
		fresh.Annotations = map[string]string{v1.TakeOverFromAnnotation: "west"}
		Expect(k8s.Update(ctx, fresh)).To(Succeed())
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
	})

	It("tells of two CacheStores that are one Redis, until one of the policies goes", func(ctx SpecContext) {
		on.operate(adminConfig, on.quick(nil))
		for _, name := range []string{"one", "two"} {
			on.create(ctx, storeTo(name, on.server.Addr()))
		}
		first, second := usersPolicyIn("one"), usersPolicyIn("two")
		first.Name, second.Name = "first", "second"
		on.create(ctx, first)
		Eventually(on.policy(ctx, "first")).Should(beReady("True Applied"))
		on.create(ctx, second)
		Eventually(on.policy(ctx, "second")).Should(beReady("False Contended"))
		Expect(readyOf(current(ctx, second).Status.Conditions).Message).To(ContainSubstring(on.namespace + "/first of cluster " + ourCluster))
		Expect(ready(current(ctx, first).Status.Conditions)).To(Equal("True Applied"))

		Expect(k8s.Delete(ctx, first)).To(Succeed())
		Eventually(on.policy(ctx, "second")).Should(beReady("True Applied"))
	})
})

func TestAnOwnerIsReadOnlyInTheFormThatOperatorsWrite(t *testing.T) {
	g := NewWithT(t)
	policy := usersPolicy()
	policy.Namespace = "shop"
	written := ownerOf(ourCluster, policy)
	read, known := parseOwner(written.String())
	g.Expect(known).To(BeTrue())
	g.Expect(read).To(Equal(written))
	g.Expect(ownerOf("", policy).String()).To(BeEmpty())

	for _, foreign := range []string{
		"", "token=secret", "a/b", "a/b/c/d", "/b/c", "a//c", "a/b/", "HTTP/1.1/400", "a\n/b/c", "a/b/c\x1b[31m", "-a/b/c",
	} {
		_, known := parseOwner(foreign)
		g.Expect(known).To(BeFalse(), "%q", foreign)
		g.Expect(contention(place{}, foreign)).NotTo(ContainSubstring("token="))
		g.Expect(ownerInWords(foreign)).To(Equal("an owner that this operator does not know"))
	}
}

// claimLog answers claims, and remembers which were made.
type claimLog struct {
	Store

	made [][]registry.Claim
	err  error
}

func (l *claimLog) OwnPolicies(_ context.Context, claims []registry.Claim) error {
	l.made = append(l.made, claims)
	return l.err
}

func TestClaimsAreRenewedOnceAnHour(t *testing.T) {
	g := NewWithT(t)
	clock := clocktesting.NewFakePassiveClock(time.Now())
	log := &claimLog{}
	store := newClaimingStore(log, clock)
	claims := []registry.Claim{{Slot: registry.Slot{Namespace: "shop", Module: "a"}, Owner: "o"}, {Slot: registry.Slot{Namespace: "shop", Module: "b"}, Owner: "o"}}
	after := func(passed time.Duration) []registry.Claim {
		clock.SetTime(clock.Now().Add(passed))
		log.made = nil
		_ = store.OwnPolicies(t.Context(), claims)
		if len(log.made) == 0 {
			return nil
		}
		return log.made[0]
	}
	g.Expect(after(0)).To(Equal(claims))
	g.Expect(after(renewClaims - time.Second)).To(BeEmpty())
	g.Expect(after(time.Second)).To(Equal(claims))

	log.err = registry.SlotErrors{claims[1].Slot: &registry.ContendedError{Slot: claims[1].Slot, Owner: "other"}}
	g.Expect(after(renewClaims)).To(Equal(claims))
	g.Expect(after(0)).To(Equal(claims[1:]), "what another has is not held")
}
