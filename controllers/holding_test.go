// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/registry"
)

var _ = Describe("An invalidation that holds", func() {
	var on *stage

	BeforeEach(func(ctx SpecContext) { on = newStage(ctx) })

	// stores reports whether a load of an entry of the module gets a token, so that it can be stored.
	stores := func(ctx context.Context, module string) func(Gomega) bool {
		return func(g Gomega) bool {
			key := registry.Key{Slot: on.slot(module), Operation: "list", ID: "an-id"}
			lease, err := on.cache.Lease(ctx, key)
			g.Expect(err).NotTo(HaveOccurred())
			return lease.Token != "" && lease.Token != "0"
		}
	}
	holding := func(ctx context.Context, holdFor time.Duration, targets ...v1.InvalidationTarget) *v1.CacheInvalidation {
		GinkgoHelper()
		made := controllertest.Invalidation(targets...)
		made.Spec.HoldFor, made.Spec.Reason = &metav1.Duration{Duration: holdFor}, "price import"
		on.create(ctx, made)
		Eventually(on.invalidation(ctx, made)).Should(beIn(v1.StateHolding))
		return current(ctx, made)
	}

	It("stores nothing until it ends, and the rest is cached as ever", func(ctx SpecContext) {
		on.operate(adminConfig, on.quick(on.cache))
		for _, module := range []string{"users", "posts"} {
			policy := controllertest.UsersPolicy()
			policy.Name, policy.Spec.Module = module, module
			on.create(ctx, policy)
			Eventually(on.policy(ctx, module)).Should(beReady("True Applied"))
		}
		on.fill(ctx, "users", "list", "", 5)
		made := holding(ctx, 3*time.Second, v1.InvalidationTarget{Module: "users"})
		Expect(*made.Status.KeysInvalidated).To(BeEquivalentTo(5))
		Expect(controllertest.Ready(made.Status.Conditions)).To(Equal("True Holding"))
		Expect(made.Finalizers).To(ConsistOf(v1.CacheInvalidationFinalizer))
		Expect(stores(ctx, "users")(Default)).To(BeFalse())
		Expect(stores(ctx, "posts")(Default)).To(BeTrue())
		Eventually(on.invalidation(ctx, made)).Should(beIn(v1.StateComplete))
		Eventually(stores(ctx, "users")).Should(BeTrue())
		Expect(current(ctx, made).Finalizers).To(BeEmpty())
	})

	It("ends when it is deleted", func(ctx SpecContext) {
		on.operate(adminConfig, on.quick(on.cache))
		on.create(ctx, controllertest.UsersPolicy())
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		made := holding(ctx, time.Hour, v1.InvalidationTarget{Module: "users", Operation: "list"})
		Expect(stores(ctx, "users")(Default)).To(BeFalse())
		Expect(k8s.Delete(ctx, made)).To(Succeed())
		Eventually(stores(ctx, "users")).Should(BeTrue())
		Eventually(func() bool {
			return apierrors.IsNotFound(k8s.Get(ctx, client.ObjectKeyFromObject(made), made))
		}).Should(BeTrue())
	})

	It("stands again before the policy does when Redis lost everything", func(ctx SpecContext) {
		on.operate(adminConfig, on.quick(on.cache))
		on.create(ctx, controllertest.UsersPolicy())
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		holding(ctx, time.Hour, v1.InvalidationTarget{UserID: "user-7"}, v1.InvalidationTarget{Module: "users"})
		for range 5 {
			Expect(on.redis.FlushAll(ctx).Err()).To(Succeed())
			Eventually(func(g Gomega) string {
				g.Expect(stores(ctx, "users")(g)).To(BeFalse())
				hashes, err := on.cache.PolicyHashes(ctx, []registry.Slot{on.slot("users")})
				g.Expect(err).NotTo(HaveOccurred())
				return hashes[0]
			}, controllertest.Timeout, time.Millisecond).ShouldNot(BeEmpty())
			Expect(stores(ctx, "users")(Default)).To(BeFalse())
		}
	})

	It("reports marks that were lost with everything else", func(ctx SpecContext) {
		on.operate(adminConfig, on.quick(on.cache))
		on.create(ctx, controllertest.UsersPolicy())
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		made := holding(ctx, time.Hour, v1.InvalidationTarget{Module: "users"}, v1.InvalidationTarget{UserID: "user-7"})
		Expect(on.redis.FlushAll(ctx).Err()).To(Succeed())
		Eventually(func() int64 { return current(ctx, made).Status.HoldsLost }).Should(BeEquivalentTo(2))
		Eventually(on.eventsOf(ctx, made.Name)).Should(ContainElement(HavePrefix("Warning HoldLost")))
		appears := controllertest.UsersPolicy() // in what appears nothing was lost
		appears.Name, appears.Spec.Module = "posts", "posts"
		on.create(ctx, appears)
		Eventually(on.policy(ctx, "posts")).Should(beReady("True Applied"))
		Consistently(func() int64 { return current(ctx, made).Status.HoldsLost }, "3s").Should(BeEquivalentTo(2))
	})

	It("stands again when Redis comes back with an older state", func(ctx SpecContext) {
		on.operate(adminConfig, on.quick(on.cache))
		on.create(ctx, controllertest.UsersPolicy())
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		Eventually(on.fenced(ctx, "users")).Should(BeTrue())
		Expect(on.redis.Save(ctx).Err()).To(Succeed())
		holding(ctx, time.Hour, v1.InvalidationTarget{Module: "users"})
		on.restored(ctx)
		Eventually(on.fenced(ctx, "users")).Should(BeTrue())
		Expect(stores(ctx, "users")(Default)).To(BeFalse())
	})

	It("lasts for the source lag of the policy when it is not to hold", func(ctx SpecContext) {
		on.operate(adminConfig, on.quick(on.cache))
		policy := controllertest.UsersPolicy()
		policy.Spec.SourceLag = &metav1.Duration{Duration: 3 * time.Second}
		on.create(ctx, policy)
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		Expect(stores(ctx, "users")(Default)).To(BeTrue())
		on.fill(ctx, "users", "list", "", 5)
		made := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		on.create(ctx, made)
		Eventually(stores(ctx, "users"), controllertest.Timeout, 10*time.Millisecond).Should(BeFalse())
		Eventually(on.invalidation(ctx, made)).Should(beIn(v1.StateComplete))
		Eventually(stores(ctx, "users")).Should(BeTrue())
		Expect(current(ctx, made).Finalizers).To(BeEmpty())
	})

	It("reports marks that Redis lost", func(ctx SpecContext) {
		on.operate(adminConfig, on.quick(on.cache))
		on.create(ctx, controllertest.UsersPolicy())
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		// The first renewal follows soon. A busy machine may miss it, so this is tried again.
		Eventually(func(g Gomega) {
			made := holding(ctx, time.Hour, v1.InvalidationTarget{Module: "users"})
			defer func() { Expect(k8s.Delete(ctx, made)).To(Succeed()) }()
			keys, err := on.redis.Keys(ctx, "cw:{"+on.namespace+"/users}*").Result()
			g.Expect(err).NotTo(HaveOccurred())
			for _, key := range keys {
				if mark, err := on.redis.Get(ctx, key).Result(); err == nil && strings.HasPrefix(mark, "!!") {
					g.Expect(on.redis.Del(ctx, key).Err()).To(Succeed())
				}
			}
			g.Eventually(func() int64 { return current(ctx, made).Status.HoldsLost }, "5s").Should(BeEquivalentTo(1))
			g.Eventually(on.eventsOf(ctx, made.Name)).Should(ContainElement(HavePrefix("Warning HoldLost")))
		}, controllertest.Timeout).Should(Succeed())
	})
})
