// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// fenced says whether the module was fenced in the present incarnation of the store.
func (s *stage) fenced(ctx context.Context, module string) func(Gomega) bool {
	return func(g Gomega) bool {
		fences, err := s.cache.Fences(ctx, []registry.Slot{s.slot(module)})
		g.Expect(err).NotTo(HaveOccurred())
		return fences[0].InPlace
	}
}

// reconnect lets the stage's own client, whose connections a restart cut, find the server again.
func (s *stage) reconnect(ctx context.Context) {
	GinkgoHelper()
	Eventually(func() error { return s.redis.Ping(ctx).Err() }).Should(Succeed())
}

// restored restarts Redis with what was saved last.
func (s *stage) restored(ctx context.Context) {
	GinkgoHelper()
	s.server.Restart()
	s.reconnect(ctx)
}

// hold keeps an operator from recording in a status what it did, until end is called.
type hold struct {
	reached chan struct{}
	reach   func()
	ended   chan struct{}
	end     func()
}

func newHold() *hold {
	h := &hold{reached: make(chan struct{}), ended: make(chan struct{})}
	h.reach = sync.OnceFunc(func() { close(h.reached) })
	h.end = sync.OnceFunc(func() { close(h.ended) })
	DeferCleanup(h.end)
	return h
}

func (h *hold) onInvalidations(options *manager.Options) {
	options.NewClient = func(config *rest.Config, options client.Options) (client.Client, error) {
		c, err := client.NewWithWatch(config, options)
		if err != nil {
			return nil, err
		}
		return interceptor.NewClient(c, interceptor.Funcs{
			SubResourceUpdate: func(ctx context.Context, c client.Client, resource string, obj client.Object, options ...client.SubResourceUpdateOption) error {
				if _, invalidation := obj.(*v1.CacheInvalidation); invalidation {
					h.reach()
					<-h.ended
				}
				return c.SubResource(resource).Update(ctx, obj, options...)
			},
		}), nil
	}
}

var _ = Describe("A store that goes back in time", func() {
	var on *stage

	BeforeEach(func(ctx SpecContext) { on = newStage(ctx) })

	// inUse has an operator and a policy, and entries of two operations.
	inUse := func(ctx context.Context, options Options, change ...func(*manager.Options)) *operator {
		GinkgoHelper()
		o := on.operate(adminConfig, options, change...)
		on.create(ctx, controllertest.UsersPolicy())
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		Eventually(on.fenced(ctx, "users")).Should(BeTrue())
		on.fill(ctx, "users", "list", "", 5)
		on.fill(ctx, "users", "getById", "", 5)
		return o
	}
	invalidation := func(ctx context.Context, target v1.InvalidationTarget) *v1.CacheInvalidation {
		GinkgoHelper()
		made := controllertest.Invalidation(target)
		on.create(ctx, made)
		Eventually(on.invalidation(ctx, made)).Should(beIn(v1.StateComplete))
		return current(ctx, made)
	}
	count := func(ctx context.Context, operation string) func() int {
		return func() int { return on.cached(ctx, "users", operation, "", 5) }
	}
	replaying := func() Options {
		options := on.quick(on.cache)
		options.OnDataLoss = v1.DataLossReplay
		return options
	}
	// signed waits until the store holds a heartbeat that was left from now on.
	signed := func(ctx context.Context) {
		GinkgoHelper()
		now := time.Now()
		Eventually(func() (time.Time, error) { return on.cache.LastHeartbeat(ctx, on.slot("users")) }).Should(BeTemporally(">", now))
	}

	It("has its modules invalidated, and says so", func(ctx SpecContext) {
		inUse(ctx, on.quick(on.cache))
		on.server.Save()

		on.restored(ctx)

		Eventually(count(ctx, "list")).Should(BeZero())
		Eventually(count(ctx, "getById")).Should(BeZero())
		Eventually(on.eventsOf(ctx, "users")).Should(ContainElement("Warning DataLoss"))

		By("caching again, and invalidating no more")
		Eventually(on.fenced(ctx, "users")).Should(BeTrue())
		on.fill(ctx, "users", "list", "", 5)
		Consistently(count(ctx, "list"), 10*on.quick(on.cache).StoreCheckInterval).Should(Equal(5))
	})

	It("has modules invalidated whose policy was retained", func(ctx SpecContext) {
		operator := inUse(ctx, on.quick(on.cache))
		other := controllertest.UsersPolicy()
		other.Name, other.Spec.Module, other.Spec.DeletionPolicy = "retained", "retained", v1.DeletionRetain
		on.create(ctx, other)
		Eventually(on.policy(ctx, "retained")).Should(beReady("True Applied"))
		Eventually(on.fenced(ctx, "retained")).Should(BeTrue())
		on.fill(ctx, "retained", "list", "", 5)
		Expect(k8s.Delete(ctx, other)).To(Succeed())
		Eventually(func() error { return k8s.Get(ctx, client.ObjectKeyFromObject(other), other) }).Should(beGone())
		operator.stop()
		on.server.Save()
		on.restored(ctx)
		Expect(on.cached(ctx, "retained", "list", "", 5)).To(Equal(5))

		on.operate(adminConfig, on.quick(on.cache))

		Eventually(func() int { return on.cached(ctx, "retained", "list", "", 5) }).Should(BeZero())
	})

	It("has modules invalidated that no policy governed then", func(ctx SpecContext) {
		store := controllertest.NewBrittleStore(on.cache)
		operator := inUse(ctx, on.quick(store))
		on.server.Save()
		policy := on.policy(ctx, "users")(Default)
		Expect(k8s.Delete(ctx, policy)).To(Succeed())
		Eventually(func() error { return k8s.Get(ctx, client.ObjectKeyFromObject(policy), policy) }).Should(beGone())
		on.restored(ctx)
		health, err := on.cache.Check(ctx)
		Expect(err).NotTo(HaveOccurred())
		Eventually(operator.logs.String).Should(ContainSubstring(health.RunIDs[0]))
		checks := store.Count("Check")
		Eventually(func() int { return store.Count("Check") - checks }).Should(BeNumerically(">=", 2))
		Expect(count(ctx, "list")()).To(Equal(5))

		on.create(ctx, controllertest.UsersPolicy())

		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		Eventually(on.fenced(ctx, "users")).Should(BeTrue())
		Expect(count(ctx, "list")()).To(BeZero(), "what was invalidated with the policy is back")
	})

	It("is seen by an operator that was away meanwhile", func(ctx SpecContext) {
		inUse(ctx, on.quick(on.cache)).stop()
		on.server.Save()
		on.restored(ctx)
		Expect(count(ctx, "list")()).To(Equal(5))

		on.operate(adminConfig, on.quick(on.cache))

		Eventually(count(ctx, "list")).Should(BeZero())
	})

	It("is distinguished from one that came back empty, and from an operator that was restarted", func(ctx SpecContext) {
		inUse(ctx, on.quick(on.cache)).stop()
		on.operate(adminConfig, on.quick(on.cache))
		Consistently(count(ctx, "list"), 10*on.quick(on.cache).StoreCheckInterval).Should(Equal(5))

		on.server.Restart()
		on.reconnect(ctx)
		Eventually(on.fenced(ctx, "users")).Should(BeTrue())
		Expect(on.eventsOf(ctx, "users")(Default)).NotTo(ContainElement("Warning DataLoss"))
	})

	It("has the purges since issued again, and no others, with onDataLoss Replay", func(ctx SpecContext) {
		inUse(ctx, replaying())
		signed(ctx)
		on.server.Save()
		kept := invalidation(ctx, v1.InvalidationTarget{Module: "users", Operation: "list"})
		Expect(*kept.Status.KeysInvalidated).To(BeEquivalentTo(5))

		on.restored(ctx)

		Eventually(count(ctx, "list")).Should(BeZero())
		Eventually(on.fenced(ctx, "users")).Should(BeTrue())
		Expect(count(ctx, "getById")()).To(Equal(5))
		Expect(current(ctx, kept).Status).To(Equal(kept.Status), "what was recorded of the first time changed")
	})

	It("has purges issued again whose resource was deleted meanwhile, with onDataLoss Replay", func(ctx SpecContext) {
		inUse(ctx, replaying())
		signed(ctx)
		on.server.Save()
		Expect(k8s.Delete(ctx, invalidation(ctx, v1.InvalidationTarget{UserID: "nobody"}))).To(Succeed())
		gone := invalidation(ctx, v1.InvalidationTarget{Module: "users", Operation: "list"})
		Expect(k8s.Delete(ctx, gone)).To(Succeed())
		Eventually(func() error { return k8s.Get(ctx, client.ObjectKeyFromObject(gone), gone) }).Should(beGone())

		on.restored(ctx)

		Eventually(count(ctx, "list")).Should(BeZero())
		Eventually(on.fenced(ctx, "users")).Should(BeTrue())
		Expect(count(ctx, "getById")()).To(Equal(5))
	})

	It("has purges issued again that are not recorded yet, with onDataLoss Replay", func(ctx SpecContext) {
		record := newHold()
		inUse(ctx, replaying(), record.onInvalidations)
		signed(ctx)
		on.server.Save()
		made := controllertest.Invalidation(v1.InvalidationTarget{Module: "users", Operation: "list"})
		on.create(ctx, made)
		Eventually(record.reached).Should(BeClosed())
		Expect(count(ctx, "list")()).To(BeZero())

		on.restored(ctx)

		Eventually(on.fenced(ctx, "users")).Should(BeTrue())
		record.end()
		Eventually(on.invalidation(ctx, made)).Should(beIn(v1.StateComplete))
		Expect(*current(ctx, made).Status.KeysInvalidated).To(BeEquivalentTo(5))
		Expect(count(ctx, "list")()).To(BeZero(), "a purge that is complete is lost")
		Expect(count(ctx, "getById")()).To(Equal(5))
	})

	It("has modules invalidated whose revision is another, with onDataLoss Replay", func(ctx SpecContext) {
		inUse(ctx, replaying())
		signed(ctx)
		on.server.Save()
		policy := &v1.CachePolicy{ObjectMeta: metav1.ObjectMeta{Namespace: on.namespace, Name: "users"}}
		change(ctx, policy, func(p *v1.CachePolicy) { p.Spec.Revision = "2" })
		Eventually(count(ctx, "getById")).Should(BeZero())
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))

		on.restored(ctx)

		Eventually(on.fenced(ctx, "users")).Should(BeTrue())
		Expect(count(ctx, "getById")()).To(BeZero())
	})

	It("has all invalidated where purges may be unknown, with onDataLoss Replay", func(ctx SpecContext) {
		operator := inUse(ctx, replaying())
		signed(ctx)
		on.server.Save()
		gone := invalidation(ctx, v1.InvalidationTarget{Module: "users", Operation: "list"})
		operator.stop()
		Expect(k8s.Delete(ctx, gone)).To(Succeed())
		on.restored(ctx)

		on.operate(adminConfig, replaying())

		Eventually(count(ctx, "list")).Should(BeZero())
		Eventually(count(ctx, "getById")).Should(BeZero())
		Eventually(on.eventsOf(ctx, "users")).Should(ContainElement("Warning DataLoss"))
	})

	// sentinels has an operator, and a policy in a CacheStore with Sentinels.
	sentinels := func(ctx context.Context) *redistest.SentinelGroup {
		GinkgoHelper()
		group := redistest.StartSentinel(GinkgoTB(), 1, 1)
		for _, server := range group.Servers() {
			addOperator(server, "secret")
		}
		on.redis = group.Client()
		on.cache = registry.New(on.redis)
		options := on.quick(nil)
		options.StoreAddress = ""
		on.operate(adminConfig, options)
		on.create(ctx, secret("redis-auth", map[string]string{"username": "cachewright", "password": "secret"}))
		store := &v1.CacheStore{ObjectMeta: metav1.ObjectMeta{Name: "main"}, Spec: v1.CacheStoreSpec{
			Mode: v1.StoreSentinel, MasterName: redistest.MasterName, CredentialsSecretRef: &v1.SecretReference{Name: "redis-auth"},
		}}
		for _, addr := range group.Addrs() {
			store.Spec.Addresses = append(store.Spec.Addresses, v1.StoreAddress(addr))
		}
		on.create(ctx, store)
		on.create(ctx, controllertest.UsersPolicyIn("main"))
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		Eventually(on.fenced(ctx, "users")).Should(BeTrue())
		on.fill(ctx, "users", "list", "", 5)
		group.Primary().WaitReplicated()
		return group
	}
	purgeInMain := func(ctx context.Context) {
		GinkgoHelper()
		made := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		made.Spec.StoreRef = &v1.StoreReference{Name: "main"}
		on.create(ctx, made)
		Eventually(on.invalidation(ctx, made)).Should(beIn(v1.StateComplete))
	}
	// use lets the stage's own client be one of this server alone.
	use := func(server *redistest.Server) {
		on.redis = server.Client()
		on.cache = registry.New(on.redis)
	}

	It("may be one that Sentinels fail over to a replica that lags", func(ctx SpecContext) {
		group := sentinels(ctx)
		group.Primary().PauseReplication()
		purgeInMain(ctx)

		use(group.Failover())

		Eventually(count(ctx, "list")).Should(BeZero())
		Eventually(on.eventsOf(ctx, "main")).Should(ContainElement("Warning DataLoss"))
	})

	It("is the primary that Sentinels name, though the former one serves others still", func(ctx SpecContext) {
		group := sentinels(ctx)
		former := group.Split()
		purgeInMain(ctx)
		use(group.Primary())
		Eventually(on.fenced(ctx, "users")).Should(BeTrue())
		Expect(count(ctx, "list")()).To(BeZero())

		on.fill(ctx, "users", "list", "", 5)
		purgeInMain(ctx)

		Expect(count(ctx, "list")()).To(BeZero())
		Expect(former.Client().Do(ctx, "ROLE").Slice()).To(ContainElement("master"), "the former primary serves nobody: this shows nothing")
	})
})
