// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

var _ = Describe("CacheStore of a cluster whose members change", func() {
	var on *stage
	var cluster *redistest.Cluster
	modules := []string{"users", "posts"}

	// onCluster has the stage's application use the cluster as it is now.
	onCluster := func() { on.cache = registry.New(cluster.Client()) }
	// works says that a module is cached and purged.
	works := func(ctx context.Context, module string) {
		GinkgoHelper()
		key := registry.Key{Slot: on.slot(module), Operation: "list", ID: "a"}
		Eventually(func(g Gomega) {
			lookup, err := on.cache.Lease(ctx, key)
			g.Expect(err).NotTo(HaveOccurred())
			filled, err := on.cache.Set(ctx, key, []byte("value"), lookup.Token)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(filled.Outcome).To(Equal(registry.Stored))
		}).Should(Succeed())
		invalidation := on.invalidated(ctx, module)
		Expect(*invalidation.Status.KeysInvalidated).To(BeEquivalentTo(1))
		found, err := on.cache.Read(ctx, key)
		Expect(err).NotTo(HaveOccurred())
		Expect(found.Hit).To(BeFalse(), "the purge left it")
	}
	version := func(ctx context.Context, server *redistest.Server) func() (int, error) {
		return func() (int, error) {
			health, err := registry.New(server.Client()).Check(ctx)
			return health.LibraryVersion, err
		}
	}

	BeforeEach(func(ctx SpecContext) {
		on = newStage(ctx)
		on.operate(adminConfig, on.quick(nil))
		cluster = redistest.StartCluster(GinkgoTB(), 3)
		onCluster()
		store := controllertest.StoreTo("main", "")
		store.Spec.Mode, store.Spec.Addresses = v1.StoreCluster, addressesOf(cluster.Addrs()...)
		on.create(ctx, store)
		for _, module := range modules {
			policy := controllertest.UsersPolicyIn("main")
			policy.Name, policy.Spec.Module = module, module
			on.create(ctx, policy)
			Eventually(on.policy(ctx, module)).Should(beReady("True Applied"))
			Eventually(on.fenced(ctx, module)).Should(BeTrue())
		}
	})

	It("has the library on a primary that is added, and its modules work there", func(ctx SpecContext) {
		added := cluster.AddPrimary()
		Expect(version(ctx, added)()).To(BeZero())

		cluster.MoveSlotTo(on.key("users"), added) // before, no client sees it

		Eventually(version(ctx, added)).Should(Equal(registry.LibraryVersion))
		Eventually(func() int32 { return on.store(ctx, "main")(Default).Status.Servers }).Should(BeEquivalentTo(4))
		application := on.cache // it knows the cluster as it was, and learns from redirections
		onCluster()
		Eventually(on.fenced(ctx, "users")).Should(BeTrue())
		on.cache = application
		works(ctx, "users")
		works(ctx, "posts")
		Expect(added.Client().Exists(ctx, on.key("users")+":policy").Val()).To(BeEquivalentTo(1), "it is elsewhere")
		Expect(on.policy(ctx, "users")(Default)).To(beReady("True Applied"))

		By("applying policies there")
		on.retune(ctx, "users")
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
	})

	It("goes on with a replica that is promoted", func(ctx SpecContext) {
		primary := cluster.Owner(on.key("users"))
		replica := cluster.AddReplica(primary)

		cluster.Failover(primary, replica)

		onCluster()
		Eventually(version(ctx, replica)).Should(Equal(registry.LibraryVersion))
		Eventually(on.fenced(ctx, "users")).Should(BeTrue())
		Eventually(on.store(ctx, "main")).Should(beReady("True Connected"))
		works(ctx, "users")
		works(ctx, "posts")
	})
})

// key names the slot of a module.
func (s *stage) key(module string) string { return "cw:{" + s.slot(module).String() + "}" }
