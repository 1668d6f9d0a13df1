// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/cachestore"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/stores"
	"github.com/cachewright/cachewright/controllers/stores/storetest"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// secret is a Secret of text.
func secret(name string, data map[string]string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: data}
}

// addOperator makes the user that docs/operations.md makes for the operator, with another password.
func addOperator(server *redistest.Server, password string) {
	server.ApplyACL(redistest.ACLOf(GinkgoTB(), "../docs/operations.md", "cachewright"))
	server.AddUser("cachewright", password)
}

func (s *stage) store(ctx context.Context, name string) func(Gomega) *v1.CacheStore {
	return func(g Gomega) *v1.CacheStore {
		store := &v1.CacheStore{}
		g.Expect(k8s.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, store)).To(Succeed())
		return store
	}
}

// patch changes an object, whatever others do to it meanwhile.
func (s *stage) patch(ctx context.Context, obj client.Object, patch string) {
	GinkgoHelper()
	Expect(k8s.Patch(ctx, obj, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
}

// retune changes a policy.
func (s *stage) retune(ctx context.Context, name string) {
	GinkgoHelper()
	policy := &v1.CachePolicy{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}}
	s.patch(ctx, policy, `{"spec":{"defaultTTL":"1m"}}`)
}

// ofStages are the manager's options for an operator that serves the namespaces of some
// stages.
func ofStages(stages ...*stage) func(*manager.Options) {
	return func(options *manager.Options) {
		options.Cache.DefaultNamespaces = map[string]cache.Config{}
		for _, s := range stages {
			options.Cache.DefaultNamespaces[s.namespace] = cache.Config{}
		}
	}
}

func beGone() OmegaMatcher { return MatchError(apierrors.IsNotFound, "IsNotFound") }

var _ = Describe("CacheStore", func() {
	var on *stage

	BeforeEach(func(ctx SpecContext) { on = newStage(ctx) })

	// withoutDefault are options of an operator that has no Redis of its own.
	withoutDefault := func() Options {
		options := on.quick(nil)
		options.StoreAddress = ""
		return options
	}
	getting := func(ctx context.Context, obj client.Object) func() error {
		return func() error { return k8s.Get(ctx, client.ObjectKeyFromObject(obj), obj) }
	}

	It("keeps the stores of two namespaces, and the operator's own, apart", func(ctx SpecContext) {
		other, own := newStage(ctx), newStage(ctx)
		operator := on.operate(adminConfig, own.quick(own.cache), ofStages(on, other))
		stages := []*stage{on, other}
		for _, s := range stages {
			password := "of-" + s.namespace
			addOperator(s.server, password)
			s.create(ctx, secret("redis-auth", map[string]string{"username": "cachewright", "password": password}))
			store := controllertest.StoreTo("main", s.server.Addr())
			store.Spec.CredentialsSecretRef = &v1.SecretReference{Name: "redis-auth"}
			s.create(ctx, store)
			s.create(ctx, controllertest.UsersPolicyIn("main"))
		}
		inOwn := controllertest.UsersPolicy()
		inOwn.Name = "users-in-default"
		on.create(ctx, inOwn)
		for _, s := range stages {
			Eventually(s.store(ctx, "main")).Should(beReady("True Connected"))
			Eventually(s.policy(ctx, "users")).Should(beReady("True Applied"))
			Expect(s.cache.Modules(ctx, s.namespace)).To(ConsistOf("users"))
			s.fill(ctx, "users", "list", "", 3)
		}
		Eventually(on.policy(ctx, "users-in-default")).Should(beReady("True Applied"))
		Expect(own.cache.Modules(ctx, on.namespace)).To(ConsistOf("users"))

		for _, name := range []string{"the operator's own", on.namespace + "/main", other.namespace + "/main"} {
			Expect(operator.logs.String()).To(ContainSubstring(`"store": "` + name + `"`))
		}

		By("saying what the store is")
		next := on.store(ctx, "main")(Default).Status
		Expect(next.ServerVersion).To(HavePrefix("7."))
		Expect(next.Mode).To(Equal("standalone"))
		Expect(next.Role).To(Equal("primary"))
		Expect(next.EvictionPolicy).To(Equal("noeviction"))
		Expect(next.LibraryVersion).To(BeEquivalentTo(registry.LibraryVersion))
		Expect(next.Servers).To(BeEquivalentTo(1))
		Expect(next.Memory.UsedBytes).To(BeNumerically(">", 0))
		Eventually(on.eventsOf(ctx, "main")).Should(ContainElement("Normal Connected"))

		By("purging in one of them")
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{All: true})
		invalidation.Spec.StoreRef = &v1.StoreReference{Name: "main"}
		on.create(ctx, invalidation)
		Eventually(on.invalidation(ctx, invalidation)).Should(beIn(v1.StateComplete))
		Expect(*current(ctx, invalidation).Status.KeysInvalidated).To(BeEquivalentTo(3))
		Expect(other.cached(ctx, "users", "list", "", 3)).To(Equal(3))

		By("going on in one while the other is down")
		other.server.Kill()
		Eventually(other.store(ctx, "main")).Should(beReady("False StoreUnreachable"))
		Eventually(other.policy(ctx, "users")).Should(beReady("False StoreUnreachable"))
		Expect(status.Ready(other.policy(ctx, "users")(Default).Status.Conditions).Message).
			To(And(ContainSubstring("CacheStore main"), ContainSubstring(other.server.Addr()), ContainSubstring("spec.addresses")))
		on.retune(ctx, "users")
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		Expect(on.store(ctx, "main")(Default).Status.Conditions).To(HaveLen(1))
	})

	It("applies a policy within seconds after its store appears", func(ctx SpecContext) {
		on.operate(adminConfig, on.quick(on.cache))
		other := redistest.Start(GinkgoTB())
		on.create(ctx, controllertest.UsersPolicyIn("late"))
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		invalidation.Spec.StoreRef = &v1.StoreReference{Name: "late"}
		on.create(ctx, invalidation)
		Eventually(on.policy(ctx, "users")).Should(beReady("False StoreNotFound"))
		Eventually(on.invalidation(ctx, invalidation)).Should(And(beIn(v1.StatePending), beReady("False StoreNotFound")))
		Eventually(on.eventsOf(ctx, "users")).Should(ContainElement("Warning StoreNotFound"))

		on.create(ctx, controllertest.StoreTo("late", other.Addr()))

		Eventually(on.policy(ctx, "users")).WithTimeout(10 * time.Second).Should(beReady("True Applied"))
		Eventually(on.invalidation(ctx, invalidation)).WithTimeout(10 * time.Second).Should(beIn(v1.StateComplete))
		Expect(registry.New(other.Client()).Modules(ctx, on.namespace)).To(ConsistOf("users"))
		_, err := on.cache.Modules(ctx, on.namespace)
		Expect(err).To(MatchError(registry.ErrModulesUnknown), "the default store was written to")
	})

	It("is needed where the operator has no Redis of its own", func(ctx SpecContext) {
		on.operate(adminConfig, withoutDefault())
		on.create(ctx, controllertest.UsersPolicy())
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		on.create(ctx, invalidation)

		Eventually(on.policy(ctx, "users")).Should(beReady("False StoreRequired"))
		Expect(status.Ready(on.policy(ctx, "users")(Default).Status.Conditions).Message).To(ContainSubstring("spec.storeRef"))
		Expect(controllertest.Condition(on.policy(ctx, "users")(Default).Status.Conditions, v1.ConditionStalled)).To(Equal("True StoreRequired"))
		Eventually(on.invalidation(ctx, invalidation)).Should(And(beIn(v1.StatePending), beReady("False StoreRequired")))

		on.create(ctx, controllertest.StoreTo("main", on.server.Addr()))
		policy := controllertest.UsersPolicyIn("main")
		policy.Name = "users-in-main"
		on.create(ctx, policy)
		Eventually(on.policy(ctx, "users-in-main")).Should(beReady("True Applied"))
	})

	It("follows a changed Secret without a restart", func(ctx SpecContext) {
		options := withoutDefault()
		options.secretInterval = 100 * time.Millisecond
		o := on.operate(adminConfig, options)
		addOperator(on.server, "first-secret")
		auth := secret("redis-auth", map[string]string{"username": "cachewright\n", "password": "first-secret\r\n"}) // from files
		on.create(ctx, auth)
		store := controllertest.StoreTo("main", on.server.Addr())
		store.Spec.CredentialsSecretRef = &v1.SecretReference{Name: "redis-auth"}
		on.create(ctx, store)
		on.create(ctx, controllertest.UsersPolicyIn("main"))
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		rotate := func(password string) {
			fresh := current(ctx, auth)
			fresh.Data["password"] = []byte(password)
			Expect(k8s.Update(ctx, fresh)).To(Succeed())
		}
		connected := func() (string, error) {
			return on.redis.ClientList(ctx).Result()
		}

		By("overlapping passwords: nothing fails")
		Expect(on.redis.Do(ctx, "ACL", "SETUSER", "cachewright", ">second-secret").Err()).To(Succeed())
		Eventually(on.store(ctx, "main")).Should(beReady("True Connected"))
		before := on.seen.readings(ctx, store)
		rotate("second-secret")
		Eventually(o.logs.String).Should(ContainSubstring("Reconnected"))
		Expect(on.redis.Do(ctx, "ACL", "SETUSER", "cachewright", "<first-secret").Err()).To(Succeed())
		on.retune(ctx, "users")
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		Expect(on.seen.readings(ctx, store)).To(Equal(before), "the rotation was noticed")

		By("removing the old password first: it fails, then recovers")
		Expect(on.redis.Do(ctx, "ACL", "SETUSER", "cachewright", "resetpass", ">third-secret").Err()).To(Succeed())
		Expect(on.redis.Do(ctx, "CLIENT", "KILL", "USER", "cachewright").Err()).To(Succeed())
		Eventually(on.store(ctx, "main")).Should(beReady("False StoreUnauthorized"))
		Expect(status.Ready(on.store(ctx, "main")(Default).Status.Conditions).Message).To(ContainSubstring("spec.credentialsSecretRef"))
		Eventually(on.policy(ctx, "users")).Should(beReady("False StoreUnauthorized"))
		rotate("third-secret")
		Eventually(on.store(ctx, "main")).Should(beReady("True Connected"))
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))

		By("losing the Secret")
		Expect(k8s.Delete(ctx, auth)).To(Succeed())
		Eventually(on.store(ctx, "main")).Should(beReady("False StoreSecretInvalid"))
		Expect(status.Ready(on.store(ctx, "main")(Default).Status.Conditions).Message).To(ContainSubstring("there is no Secret redis-auth"))
		on.create(ctx, secret("redis-auth", map[string]string{"username": "cachewright", "password": "third-secret"}))
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))

		By("leaving no connection of old behind")
		Expect(k8s.Delete(ctx, on.policy(ctx, "users")(Default))).To(Succeed())
		Expect(k8s.Delete(ctx, store)).To(Succeed())
		Eventually(getting(ctx, store)).Should(beGone())
		Eventually(connected).ShouldNot(ContainSubstring("user=cachewright"))
		Expect(o.logs.String()).NotTo(ContainSubstring("-secret\""))
		Expect(o.logs.String()).NotTo(Or(ContainSubstring("first-secret"), ContainSubstring("second-secret"), ContainSubstring("third-secret")))
	})

	It("reconnects when its spec changes", func(ctx SpecContext) {
		next := redistest.Start(GinkgoTB())
		on.operate(adminConfig, withoutDefault())
		on.create(ctx, controllertest.StoreTo("main", on.server.Addr()))
		on.create(ctx, controllertest.UsersPolicyIn("main"))
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))

		on.patch(ctx, on.store(ctx, "main")(Default), `{"spec":{"addresses":["`+next.Addr()+`"]}}`)

		Eventually(on.store(ctx, "main")).Should(beReady("True Connected"))
		Expect(status.Ready(on.store(ctx, "main")(Default).Status.Conditions).Message).To(ContainSubstring(next.Addr()))
		Eventually(func() ([]string, error) { return registry.New(next.Client()).Modules(ctx, on.namespace) }).Should(ConsistOf("users"))
	})

	It("stays until nothing refers to it", func(ctx SpecContext) {
		on.operate(adminConfig, withoutDefault())
		store := controllertest.StoreTo("main", on.server.Addr())
		on.create(ctx, store)
		policy := controllertest.UsersPolicyIn("main")
		on.create(ctx, policy)
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		on.fill(ctx, "users", "list", "", 3)

		Expect(k8s.Delete(ctx, store)).To(Succeed())

		Eventually(on.store(ctx, "main")).Should(beReady("False InUse"))
		Expect(status.Ready(on.store(ctx, "main")(Default).Status.Conditions).Message).
			To(And(ContainSubstring("1 CachePolicies and 0 unfinished CacheInvalidations"), ContainSubstring("CachePolicy users")))
		Eventually(on.eventsOf(ctx, "main")).Should(ContainElement("Normal InUse"))

		By("working meanwhile")
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		invalidation.Spec.StoreRef = &v1.StoreReference{Name: "main"}
		on.create(ctx, invalidation)
		Eventually(on.invalidation(ctx, invalidation)).Should(beIn(v1.StateComplete))
		Expect(*current(ctx, invalidation).Status.KeysInvalidated).To(BeEquivalentTo(3))

		By("going with the last reference; a finished purge is none")
		Expect(k8s.Delete(ctx, policy)).To(Succeed())
		Eventually(getting(ctx, policy)).Should(beGone())
		Eventually(on.eventsOf(ctx, "users")).Should(ContainElement("Normal Withdrawn"))
		Eventually(getting(ctx, store)).Should(beGone())
	})

	It("stays until a purge is over that waits for it", func(ctx SpecContext) {
		on.operate(adminConfig, withoutDefault())
		on.server.Kill()
		store, invalidation := controllertest.StoreTo("main", on.server.Addr()), controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		invalidation.Spec.StoreRef = &v1.StoreReference{Name: "main"}
		on.create(ctx, store)
		on.create(ctx, invalidation)
		Eventually(on.invalidation(ctx, invalidation)).Should(beReady("False StoreUnreachable"))

		Expect(k8s.Delete(ctx, store)).To(Succeed())

		Eventually(on.store(ctx, "main")).Should(beReady("False InUse"))
		Expect(status.Ready(on.store(ctx, "main")(Default).Status.Conditions).Message).
			To(And(ContainSubstring("0 CachePolicies and 1 unfinished CacheInvalidations"), ContainSubstring(invalidation.Name)))
		Expect(k8s.Delete(ctx, invalidation)).To(Succeed())
		Eventually(getting(ctx, store)).Should(beGone())
	})

	It("does not wait forever for an invalidation that waits for a dead Redis", func(ctx SpecContext) {
		options := withoutDefault()
		options.withdrawTimeout = 2 * time.Second
		on.operate(adminConfig, options)
		store, policy, invalidation := controllertest.StoreTo("main", on.server.Addr()), controllertest.UsersPolicyIn("main"), controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		invalidation.Spec.StoreRef = &v1.StoreReference{Name: "main"}
		on.create(ctx, store)
		on.create(ctx, policy)
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		on.server.Kill()
		on.create(ctx, invalidation)
		Eventually(on.invalidation(ctx, invalidation)).Should(beReady("False StoreUnreachable"))

		Expect(k8s.Delete(ctx, store)).To(Succeed())

		By("staying for a policy that nobody deletes")
		Eventually(on.store(ctx, "main")).Should(beReady("False InUse"))
		Consistently(getting(ctx, store), 2*options.withdrawTimeout).Should(Succeed())

		By("going without that")
		Expect(k8s.Delete(ctx, policy)).To(Succeed())
		Eventually(getting(ctx, store)).Should(beGone())
		Eventually(on.eventsOf(ctx, "main")).Should(ContainElement("Warning Abandoned"))
		Eventually(on.invalidation(ctx, invalidation)).Should(And(beIn(v1.StatePending), beReady("False StoreNotFound")))
	})

	DescribeTable("lets all that refers to it go, and goes, whatever is wrong with it",
		func(ctx SpecContext, wantReason, wantEvent string, harm func(ctx context.Context)) {
			options := withoutDefault()
			options.withdrawTimeout = time.Second
			options.secretInterval = 100 * time.Millisecond
			on.operate(adminConfig, options)
			addOperator(on.server, "secret")
			on.create(ctx, secret("redis-auth", map[string]string{"username": "cachewright", "password": "secret"}))
			store, policy, invalidation := controllertest.StoreTo("main", on.server.Addr()), controllertest.UsersPolicyIn("main"), controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
			store.Spec.CredentialsSecretRef = &v1.SecretReference{Name: "redis-auth"}
			on.create(ctx, store)
			on.create(ctx, policy)
			Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
			harm(ctx)
			Eventually(on.policy(ctx, "users")).Should(beReady("False " + wantReason))
			invalidation.Spec.StoreRef = &v1.StoreReference{Name: "main"}
			on.create(ctx, invalidation)
			Eventually(on.invalidation(ctx, invalidation)).Should(beReady("False " + wantReason))

			for _, obj := range []client.Object{store, policy, invalidation} {
				Expect(client.IgnoreNotFound(k8s.Delete(ctx, obj))).To(Succeed())
			}

			Eventually(getting(ctx, invalidation)).Should(beGone())
			Eventually(getting(ctx, policy)).Should(beGone())
			Eventually(getting(ctx, store)).Should(beGone())
			Eventually(on.eventsOf(ctx, "users")).Should(ContainElement(wantEvent))
		},
		Entry("dead", v1.ReasonStoreUnreachable, "Warning Abandoned", func(context.Context) { on.server.Kill() }),
		Entry("frozen", v1.ReasonStoreUnreachable, "Warning Abandoned", func(context.Context) {
			on.server.Pause()
			DeferCleanup(on.server.Resume)
		}),
		Entry("another password", v1.ReasonStoreUnauthorized, "Warning Abandoned", func(ctx context.Context) {
			Expect(on.redis.Do(ctx, "ACL", "SETUSER", "cachewright", "resetpass", ">other").Err()).To(Succeed())
			Expect(on.redis.Do(ctx, "CLIENT", "KILL", "USER", "cachewright").Err()).To(Succeed())
		}),
		// The connection of before is good enough to withdraw policies.
		Entry("its Secret deleted", v1.ReasonStoreSecretInvalid, "Normal Withdrawn", func(ctx context.Context) {
			Expect(k8s.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: on.namespace, Name: "redis-auth"}})).To(Succeed())
		}),
		Entry("deleted, its finalizer taken off by force", v1.ReasonStoreNotFound, "Warning Abandoned", func(ctx context.Context) {
			store := on.store(ctx, "main")(Default)
			Expect(k8s.Delete(ctx, store)).To(Succeed())
			on.patch(ctx, store, `{"metadata":{"finalizers":null}}`)
		}),
	)

	It("need not be there for what refers to it to go", func(ctx SpecContext) {
		options := withoutDefault()
		options.withdrawTimeout = time.Second
		on.operate(adminConfig, options)
		policy, invalidation := controllertest.UsersPolicyIn("never-there"), controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		invalidation.Spec.StoreRef = &v1.StoreReference{Name: "never-there"}
		on.create(ctx, policy)
		on.create(ctx, invalidation)
		Eventually(on.policy(ctx, "users")).Should(beReady("False StoreNotFound"))

		Expect(k8s.Delete(ctx, policy)).To(Succeed())
		Expect(k8s.Delete(ctx, invalidation)).To(Succeed())

		Eventually(getting(ctx, invalidation)).Should(beGone())
		Eventually(getting(ctx, policy)).Should(beGone())
		Consistently(on.eventsOf(ctx, "users"), time.Second).ShouldNot(ContainElement("Warning Abandoned"), "nothing was ever written, so nothing is left")
	})

	It("may vanish with its finalizer taken off by force", func(ctx SpecContext) {
		on.operate(adminConfig, withoutDefault())
		store := controllertest.StoreTo("main", on.server.Addr())
		on.create(ctx, store)
		on.create(ctx, controllertest.UsersPolicyIn("main"))
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))

		Expect(k8s.Delete(ctx, store)).To(Succeed())
		Eventually(on.store(ctx, "main")).Should(beReady("False InUse"))
		Expect(k8s.Patch(ctx, store, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))).To(Succeed())

		Eventually(on.policy(ctx, "users")).Should(beReady("False StoreNotFound"))
	})

	DescribeTable("warns of what endangers users, while it does",
		func(ctx SpecContext, danger registry.Primary, wantReason, wantMessage string) {
			danger.Addr, danger.Version, danger.EvictionPolicy = "r:6379", "7.0.15", "noeviction"
			store := controllertest.StoreTo("main", "r:6379")
			on.create(ctx, store)
			clock := clocktesting.NewFakeClock(time.Now().Truncate(time.Second))
			monitors := &storetest.Monitors{}
			events := &controllertest.EventLog{}
			reconciler := &cachestore.Reconciler{
				Client: k8s, Reader: k8s, Stores: monitors, Events: events, Clock: clock, StatsInterval: time.Minute,
			}
			found := func(primary registry.Primary) []metav1.Condition {
				monitors.Last = &stores.ProbeResult{Version: stores.VersionOf(store), Health: registry.Health{Version: "7.0.15", Primaries: []registry.Primary{primary}}}
				_, err := reconciler.Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(store)})
				Expect(err).NotTo(HaveOccurred())
				return current(ctx, store).Status.Conditions
			}

			conditions := found(danger)
			Expect(controllertest.Ready(conditions)).To(Equal("True Connected"))
			Expect(controllertest.Condition(conditions, v1.ConditionAtRisk)).To(Equal("True " + wantReason))
			Expect(meta.FindStatusCondition(conditions, v1.ConditionAtRisk).Message).To(ContainSubstring(wantMessage))
			Expect(events.Take()).To(ContainElement(And(HavePrefix("Warning "+wantReason), ContainSubstring(wantMessage))))
			found(danger)
			Expect(events.Take()).To(BeEmpty())

			Expect(controllertest.Condition(found(registry.Primary{Addr: "r:6379", Version: "7.0.15"}), v1.ConditionAtRisk)).To(Equal("absent"))
		},
		Entry("a replica", registry.Primary{IsReplica: true}, "NotPrimary", "takes no writes"),
		Entry("full", registry.Primary{UsedMemory: 100, MaxMemory: 100}, "MemoryFull", "raise maxmemory"),
		Entry("a replica that lags", registry.Primary{Replicas: []registry.Replica{{Addr: "s:6379", Online: true, Lag: time.Hour}}},
			"ReplicaLags", "s:6379"),
		Entry("a server that does not say who it is", registry.Primary{Anonymous: true}, "LossUnseen", "run_id"),
		Entry("persistence", registry.Primary{AppendOnly: true}, "RestoresOldState", "append-only file"),
	)

	It("says what is wrong with a Secret", func(ctx SpecContext) {
		on.operate(adminConfig, withoutDefault())
		on.create(ctx, secret("no-password", map[string]string{"username": "u"}))
		on.create(ctx, secret("no-pem", map[string]string{"ca.crt": "rubbish"}))
		named := func(name string) *v1.SecretReference { return &v1.SecretReference{Name: name} }
		for name, test := range map[string]struct {
			change func(*v1.CacheStoreSpec)
			says   string
		}{
			"missing":  {func(s *v1.CacheStoreSpec) { s.CredentialsSecretRef = named("nobodys") }, "there is no Secret nobodys"},
			"no-key":   {func(s *v1.CacheStoreSpec) { s.CredentialsSecretRef = named("no-password") }, "Secret no-password has no key password"},
			"no-pem":   {func(s *v1.CacheStoreSpec) { s.TLS = &v1.StoreTLS{CASecretRef: named("no-pem")} }, "hold no PEM certificate"},
			"no-certs": {func(s *v1.CacheStoreSpec) { s.TLS = &v1.StoreTLS{ClientCertificateSecretRef: named("no-pem")} }, "has no key tls.crt"},
		} {
			store := controllertest.StoreTo(name, on.server.Addr())
			test.change(&store.Spec)
			on.create(ctx, store)
			Eventually(on.store(ctx, name)).Should(beReady("False StoreSecretInvalid"))
			Expect(status.Ready(on.store(ctx, name)(Default).Status.Conditions).Message).To(ContainSubstring(test.says))
		}
		on.create(ctx, controllertest.UsersPolicyIn("missing"))
		Eventually(on.policy(ctx, "users")).Should(beReady("False StoreSecretInvalid"))
	})
})
