// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

func addressesOf(addresses ...string) []v1.StoreAddress {
	var list []v1.StoreAddress
	for _, address := range addresses {
		list = append(list, v1.StoreAddress(address))
	}
	return list
}

// invalidated waits until an invalidation of a module of the store main took effect.
func (s *stage) invalidated(ctx context.Context, module string) *v1.CacheInvalidation {
	GinkgoHelper()
	invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: module})
	invalidation.Spec.StoreRef = &v1.StoreReference{Name: "main"}
	s.create(ctx, invalidation)
	Eventually(s.invalidation(ctx, invalidation)).Should(beIn(v1.StateComplete))
	return current(ctx, invalidation)
}

var _ = Describe("CacheStore of each kind", func() {
	var on *stage

	BeforeEach(func(ctx SpecContext) {
		on = newStage(ctx)
		options := on.quick(nil)
		on.operate(adminConfig, options)
	})

	It("is followed by its sentinels to another primary", func(ctx SpecContext) {
		group := redistest.StartSentinel(GinkgoTB(), 1, 3)
		store := controllertest.StoreTo("main", "")
		store.Spec.Mode, store.Spec.MasterName, store.Spec.Addresses = v1.StoreSentinel, redistest.MasterName, addressesOf(group.Addrs()...)
		on.create(ctx, store)
		on.create(ctx, controllertest.UsersPolicyIn("main"))
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))

		next := group.Failover()

		applied := func() ([]string, error) {
			return registry.New(next.Client()).PolicyHashes(ctx, []registry.Slot{on.slot("users")})
		}
		Eventually(applied).Should(HaveEach(Not(BeEmpty())))
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		on.invalidated(ctx, "users")
	})

	It("is not ready while Redis takes no writes, and says so in the words of Redis", func(ctx SpecContext) {
		on.create(ctx, controllertest.StoreTo("main", on.server.Addr()))
		on.create(ctx, controllertest.UsersPolicyIn("main"))
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		Eventually(on.store(ctx, "main")).Should(beReady("True Connected"))

		Expect(on.redis.ConfigSet(ctx, "min-replicas-to-write", "1").Err()).To(Succeed())
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		invalidation.Spec.StoreRef = &v1.StoreReference{Name: "main"}
		on.create(ctx, invalidation)
		Eventually(on.store(ctx, "main")).Should(beReady("False StoreRefusesWrites"))
		Eventually(on.policy(ctx, "users")).Should(beReady("False StoreRefusesWrites"))
		Eventually(on.invalidation(ctx, invalidation)).Should(beReady("False StoreRefusesWrites"))
		Expect(status.Ready(on.store(ctx, "main")(Default).Status.Conditions).Message).To(ContainSubstring("NOREPLICAS"))

		Expect(on.redis.ConfigSet(ctx, "min-replicas-to-write", "0").Err()).To(Succeed())
		Eventually(on.store(ctx, "main")).Should(beReady("True Connected"))
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		Eventually(on.invalidation(ctx, invalidation)).Should(beIn(v1.StateComplete))
	})

	It("has the library on every primary of a cluster", func(ctx SpecContext) {
		cluster := redistest.StartCluster(GinkgoTB(), 3)
		store := controllertest.StoreTo("main", "")
		store.Spec.Mode, store.Spec.Addresses = v1.StoreCluster, addressesOf(cluster.Addrs()[0])
		on.create(ctx, store)
		modules := []string{"users", "posts", "comments", "carts"}
		for _, module := range modules {
			policy := controllertest.UsersPolicyIn("main")
			policy.Name, policy.Spec.Module = module, module
			on.create(ctx, policy)
			Eventually(on.policy(ctx, module)).Should(beReady("True Applied"))
		}
		next := func() v1.CacheStoreStatus { return on.store(ctx, "main")(Default).Status }
		Eventually(next).Should(And(
			HaveField("Servers", BeEquivalentTo(3)), HaveField("Mode", "cluster"), HaveField("Modules", BeEquivalentTo(len(modules))),
		))

		By("installing it again where it was lost")
		Expect(cluster.Servers()[1].Client().FunctionFlush(ctx).Err()).To(Succeed())
		health := func() (registry.Health, error) { return registry.New(cluster.Client()).Check(ctx) }
		Eventually(health).Should(HaveField("LibraryVersion", registry.LibraryVersion))
		on.invalidated(ctx, "users")
	})

	It("slows no other while it hangs", func(ctx SpecContext) {
		frozen := redistest.Start(GinkgoTB())
		on.create(ctx, controllertest.StoreTo("main", on.server.Addr()))
		on.create(ctx, controllertest.StoreTo("frozen", frozen.Addr()))
		for _, module := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			policy := controllertest.UsersPolicyIn("frozen")
			policy.Name, policy.Spec.Module = module, module
			on.create(ctx, policy)
			Eventually(on.policy(ctx, module)).Should(beReady("True Applied"))
		}
		DeferCleanup(frozen.Resume)
		frozen.Pause()
		Eventually(on.store(ctx, "frozen")).Should(beReady("False StoreUnreachable"))

		By("letting all policies of the store that hangs try: each try would last as long as this one")
		hanging := redis.NewClient(&redis.Options{
			Addr: frozen.Addr(), ReadTimeout: 6 * time.Second, MaxRetries: -1,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
		DeferCleanup(hanging.Close)
		timedOut := make(chan error, 1)
		go func() { timedOut <- hanging.Ping(ctx).Err() }()
		for _, module := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			on.retune(ctx, module)
		}
		on.create(ctx, controllertest.UsersPolicyIn("main"))
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		Expect(timedOut).NotTo(Receive(), "the store that hangs was waited for")

		frozen.Resume()
		Eventually(on.policy(ctx, "h")).Should(beReady("True Applied"))
	})

	It("slows no other for long when it begins to hang", func(ctx SpecContext) {
		frozen := redistest.Start(GinkgoTB())
		on.create(ctx, controllertest.StoreTo("main", on.server.Addr()))
		on.create(ctx, controllertest.StoreTo("frozen", frozen.Addr()))
		modules := make([]string, 48) // twice as many as there are workers
		for i := range modules {
			modules[i] = fmt.Sprintf("m%d", i)
			policy := controllertest.UsersPolicyIn("frozen")
			policy.Name, policy.Spec.Module = modules[i], modules[i]
			on.create(ctx, policy)
		}
		for _, module := range modules {
			Eventually(on.policy(ctx, module)).Should(beReady("True Applied"))
		}
		DeferCleanup(frozen.Resume)
		frozen.Pause()

		By("giving all workers something to do in the store that hangs, which nobody knows yet")
		for _, module := range modules {
			on.retune(ctx, module)
			invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: module})
			invalidation.Spec.StoreRef = &v1.StoreReference{Name: "frozen"}
			on.create(ctx, invalidation)
		}
		By("changing another store, while the calls would take several times as long as this one")
		hanging := registry.Connection{Addresses: []string{frozen.Addr()}}.Client()
		DeferCleanup(hanging.Close)
		timedOut := make(chan error, 1)
		go func() { timedOut <- hanging.Ping(ctx).Err() }()
		on.create(ctx, controllertest.UsersPolicyIn("main"))
		other := controllertest.Invalidation(v1.InvalidationTarget{All: true})
		other.Spec.StoreRef = &v1.StoreReference{Name: "main"}
		on.create(ctx, other)
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		Eventually(on.invalidation(ctx, other)).Should(beIn(v1.StateComplete))
		Expect(timedOut).NotTo(Receive(), "a call of a patient client to the store that hangs was over first")
	})
})
