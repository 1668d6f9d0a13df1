// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/cachepolicy"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/stores/storetest"
	"github.com/cachewright/cachewright/registry"
)

// Without a manager: each spec calls the reconciler itself, and owns its time.
var _ = Describe("CachePolicyReconciler", func() {
	var (
		on         *stage
		store      *controllertest.BrittleStore
		stores     *storetest.Provider
		events     *controllertest.EventLog
		clock      *clocktesting.FakePassiveClock
		reconciler *cachepolicy.Reconciler
	)

	BeforeEach(func(ctx SpecContext) {
		on = newStage(ctx)
		store, events = controllertest.NewBrittleStore(on.cache), &controllertest.EventLog{}
		stores = &storetest.Provider{Store: store, Address: on.server.Addr()}
		clock = clocktesting.NewFakePassiveClock(time.Now().Truncate(time.Second))
		reconciler = &cachepolicy.Reconciler{
			Client: k8s, Reader: k8s, Stores: stores, Events: events, Snapshot: stats.NewSnapshot(), Clock: clock,
			StatsInterval: time.Minute, WithdrawTimeout: time.Minute,
		}
	})

	reconcileOne := func(ctx context.Context, policy *v1.CachePolicy) (reconcile.Result, error) {
		return reconciler.Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(policy)})
	}
	// settle reconciles a policy that meets no error, and returns it.
	settle := func(ctx context.Context, policy *v1.CachePolicy) *v1.CachePolicy {
		GinkgoHelper()
		_, err := reconcileOne(ctx, policy)
		Expect(err).NotTo(HaveOccurred())
		return current(ctx, policy)
	}
	inRedis := func(ctx context.Context, module string) registry.Policy {
		GinkgoHelper()
		policy, _, err := on.cache.Policy(ctx, on.slot(module))
		Expect(err).NotTo(HaveOccurred())
		return policy
	}
	// count does what the store's monitor does now and then.
	count := func(ctx context.Context, policy *v1.CachePolicy) {
		GinkgoHelper()
		counted, err := on.cache.Stats(ctx, convert.Slot(policy))
		Expect(err).NotTo(HaveOccurred())
		reconciler.Snapshot.Put(policy, counted)
	}
	update := func(ctx context.Context, policy *v1.CachePolicy, change func(*v1.CachePolicySpec)) {
		GinkgoHelper()
		fresh := current(ctx, policy)
		change(&fresh.Spec)
		Expect(k8s.Update(ctx, fresh)).To(Succeed())
	}

	It("puts a policy in force and says so once", func(ctx SpecContext) {
		policy := controllertest.UsersPolicy()
		on.create(ctx, policy)

		policy = settle(ctx, policy)

		Expect(controllertest.Ready(policy.Status.Conditions)).To(Equal("True Applied"))
		Expect(controllertest.Condition(policy.Status.Conditions, v1.ConditionAccepted)).To(Equal("True Accepted"))
		Expect(policy.Finalizers).To(ConsistOf(v1.CachePolicyFinalizer))
		Expect(inRedis(ctx, "users").TTL("list")).To(Equal(3 * time.Minute))
		Expect(on.cache.Modules(ctx, on.namespace)).To(ConsistOf("users"))
		Expect(events.Take()).To(ConsistOf("Normal Applied: the policy of module users is in force"))

		By("writing and pushing nothing more at rest")
		reconciler.Client = interceptor.NewClient(k8s, interceptor.Funcs{
			SubResourcePatch: func(
				context.Context, client.Client, string, client.Object, client.Patch, ...client.SubResourcePatchOption,
			) error {
				defer GinkgoRecover()
				Fail("a patch was sent though nothing had changed")
				return nil
			},
		})
		Expect(settle(ctx, policy).ResourceVersion).To(Equal(policy.ResourceVersion))
		Expect(store.Count("ApplyPolicy")).To(Equal(1))
		Expect(events.Take()).To(BeEmpty())
	})

	It("says of a policy in force that it caches nothing", func(ctx SpecContext) {
		policy := &v1.CachePolicy{ObjectMeta: metav1.ObjectMeta{Name: "orders"}, Spec: v1.CachePolicySpec{Module: "orders"}}
		on.create(ctx, policy)

		policy = settle(ctx, policy)

		Expect(controllertest.Ready(policy.Status.Conditions)).To(Equal("True CachesNothing"))
		Expect(events.Take()).To(ConsistOf("Normal CachesNothing: the policy of module orders is in force, and caches nothing: it has neither a defaultTTL nor operations"))

		By("caching something")
		update(ctx, policy, func(spec *v1.CachePolicySpec) { spec.DefaultTTL = new(controllertest.Minutes(1)) })
		Expect(controllertest.Ready(settle(ctx, policy).Status.Conditions)).To(Equal("True Applied"))
	})

	It("pushes a changed spec", func(ctx SpecContext) {
		policy := controllertest.UsersPolicy()
		on.create(ctx, policy)
		before := settle(ctx, policy)
		events.Take()

		update(ctx, policy, func(spec *v1.CachePolicySpec) { spec.Operations[1].TTL = controllertest.Minutes(1) })
		after := settle(ctx, policy)

		Expect(inRedis(ctx, "users").TTL("list")).To(Equal(time.Minute))
		Expect(after.Status.AppliedHash).NotTo(Equal(before.Status.AppliedHash))
		Expect(after.Status.ObservedGeneration).To(Equal(after.Generation))
		Expect(events.Take()).To(ConsistOf(ContainSubstring("Normal Applied")))
	})

	It("puts a policy in force again that Redis lost", func(ctx SpecContext) {
		policy := controllertest.UsersPolicy()
		on.create(ctx, policy)
		settle(ctx, policy)
		events.Take()
		Expect(on.redis.FlushAll(ctx).Err()).To(Succeed())

		settle(ctx, policy)

		Expect(inRedis(ctx, "users").TTL("list")).To(Equal(3 * time.Minute))
		Expect(events.Take()).To(ConsistOf(ContainSubstring("Warning Restored")))
	})

	It("writes all modules of the namespace where one is pushed", func(ctx SpecContext) {
		users, posts := controllertest.UsersPolicy(), controllertest.UsersPolicy()
		posts.Name, posts.Spec.Module = "posts", "posts"
		on.create(ctx, users)
		on.create(ctx, posts)

		settle(ctx, users)

		Expect(on.cache.Modules(ctx, on.namespace)).To(ConsistOf("posts", "users"))
		Expect(store.Count("ListAll")).To(Equal(1))

		By("adding no more than a module to the list where there is one")
		carts := controllertest.UsersPolicy()
		carts.Name, carts.Spec.Module = "carts", "carts"
		on.create(ctx, carts)
		settle(ctx, carts)
		update(ctx, users, func(spec *v1.CachePolicySpec) { spec.Operations[1].TTL = controllertest.Minutes(7) })
		settle(ctx, users)
		Expect(on.cache.Modules(ctx, on.namespace)).To(ConsistOf("carts", "posts", "users"))
		Expect(store.Count("ListAll")).To(Equal(1), "all modules were written again")

		By("writing all again where Redis evicted it")
		Expect(on.redis.Del(ctx, "cw:{"+on.namespace+"}:modules").Err()).To(Succeed())
		update(ctx, users, func(spec *v1.CachePolicySpec) { spec.Operations[1].TTL = controllertest.Minutes(8) })
		settle(ctx, users)
		Expect(on.cache.Modules(ctx, on.namespace)).To(ConsistOf("carts", "posts", "users"))
	})

	It("purges the module once when the revision changes", func(ctx SpecContext) {
		policy := controllertest.UsersPolicy()
		policy.Spec.Revision = "41"
		on.create(ctx, policy)
		settle(ctx, policy)
		on.fill(ctx, "users", "list", "", 3)
		events.Take()

		update(ctx, policy, func(spec *v1.CachePolicySpec) { spec.Revision = "42" })
		policy = settle(ctx, policy)

		Expect(on.cached(ctx, "users", "list", "", 3)).To(BeZero())
		Expect(policy.Status.AppliedRevision).To(Equal("42"))
		Expect(policy.Status.LastPurgeTime.Time).To(BeTemporally("==", clock.Now()))
		Expect(events.Take()).To(ContainElement(ContainSubstring(`Normal Purged: spec.revision changed to "42"`)))

		By("leaving alone what was cached since")
		on.fill(ctx, "users", "list", "", 3)
		clock.SetTime(clock.Now().Add(time.Hour))
		again := settle(ctx, policy)
		Expect(on.cached(ctx, "users", "list", "", 3)).To(Equal(3))
		Expect(again.Status.LastPurgeTime).To(Equal(policy.Status.LastPurgeTime))
	})

	It("notes a purge that it did not live to note", func(ctx SpecContext) {
		policy := controllertest.UsersPolicy()
		policy.Spec.Revision = "41"
		on.create(ctx, policy)
		settle(ctx, policy)
		on.fill(ctx, "users", "list", "", 3)
		update(ctx, policy, func(spec *v1.CachePolicySpec) { spec.Revision = "42" })

		store.FailAfter("ApplyPolicy", controllertest.ErrLost)
		Expect(settle(ctx, policy).Status.LastPurgeTime).To(BeNil())
		store.FailAfter("ApplyPolicy", nil)
		policy = settle(ctx, policy)

		Expect(policy.Status.LastPurgeTime).NotTo(BeNil())
		Expect(policy.Status.AppliedRevision).To(Equal("42"))
	})

	It("leaves Redis alone while suspended", func(ctx SpecContext) {
		policy := controllertest.UsersPolicy()
		on.create(ctx, policy)
		settle(ctx, policy)

		update(ctx, policy, func(spec *v1.CachePolicySpec) { spec.Suspend, spec.Operations[1].TTL = true, controllertest.Minutes(1) })
		policy = settle(ctx, policy)

		Expect(controllertest.Ready(policy.Status.Conditions)).To(Equal("True Suspended"))
		Expect(inRedis(ctx, "users").TTL("list")).To(Equal(3 * time.Minute))

		update(ctx, policy, func(spec *v1.CachePolicySpec) { spec.Suspend = false })
		policy = settle(ctx, policy)
		Expect(controllertest.Ready(policy.Status.Conditions)).To(Equal("True Applied"))
		Expect(inRedis(ctx, "users").TTL("list")).To(Equal(time.Minute))
	})

	Describe("two policies for one module", func() {
		var older, younger *v1.CachePolicy

		BeforeEach(func(ctx SpecContext) {
			older, younger = controllertest.UsersPolicy(), controllertest.UsersPolicy()
			// Created within a second: then the name decides.
			older.Name, younger.Name = "a-users", "b-users"
			younger.Spec.Operations[1].TTL = controllertest.Minutes(1)
			on.create(ctx, older)
			on.create(ctx, younger)
			older, younger = settle(ctx, older), settle(ctx, younger)
		})

		It("lets the older govern, and says so in the other", func() {
			Expect(controllertest.Ready(older.Status.Conditions)).To(Equal("True Applied"))
			Expect(controllertest.Ready(younger.Status.Conditions)).To(Equal("False Conflicted"))
			Expect(controllertest.Condition(younger.Status.Conditions, v1.ConditionAccepted)).To(Equal("False Conflicted"))
			Expect(controllertest.Condition(younger.Status.Conditions, v1.ConditionStalled)).To(Equal("True Conflicted"))
			Expect(status.Ready(younger.Status.Conditions).Message).To(ContainSubstring("CachePolicy a-users"))
			Expect(store.Count("ApplyPolicy")).To(Equal(1))
		})

		It("keeps the governing policy and its entries when the other goes", func(ctx SpecContext) {
			on.fill(ctx, "users", "list", "", 3)
			Expect(k8s.Delete(ctx, younger)).To(Succeed())

			_, err := reconcileOne(ctx, younger)

			Expect(err).NotTo(HaveOccurred())
			Expect(apierrors.IsNotFound(k8s.Get(ctx, client.ObjectKeyFromObject(younger), younger))).To(BeTrue())
			Expect(inRedis(ctx, "users").TTL("list")).To(Equal(3 * time.Minute))
			Expect(on.cached(ctx, "users", "list", "", 3)).To(Equal(3))
		})

		It("promotes the other when the governing policy goes, and keeps the entries", func(ctx SpecContext) {
			on.fill(ctx, "users", "getById", "", 3)
			Expect(k8s.Delete(ctx, older)).To(Succeed())
			_, err := reconcileOne(ctx, older)
			Expect(err).NotTo(HaveOccurred())

			younger = settle(ctx, younger)

			Expect(controllertest.Ready(younger.Status.Conditions)).To(Equal("True Applied"))
			Expect(controllertest.Condition(younger.Status.Conditions, v1.ConditionAccepted)).To(Equal("True Accepted"))
			Expect(inRedis(ctx, "users").TTL("list")).To(Equal(time.Minute))
			Expect(on.cached(ctx, "users", "getById", "", 3)).To(Equal(3))
		})

		It("withdraws the policy when both go together, and the cache does not know yet", func(ctx SpecContext) {
			reconciler.Client = interceptor.NewClient(k8s, interceptor.Funcs{
				List: func(_ context.Context, _ client.WithWatch, list client.ObjectList, _ ...client.ListOption) error {
					list.(*v1.CachePolicyList).Items = []v1.CachePolicy{*older, *younger}
					return nil
				},
			})
			Expect(k8s.Delete(ctx, older)).To(Succeed())
			Expect(k8s.Delete(ctx, younger)).To(Succeed())

			for _, policy := range []*v1.CachePolicy{older, younger} {
				_, err := reconcileOne(ctx, policy)
				Expect(err).NotTo(HaveOccurred())
			}

			Expect(inRedis(ctx, "users").Operations).To(BeEmpty())
		})
	})

	Describe("deletion", func() {
		var policy *v1.CachePolicy

		remove := func(ctx context.Context) (reconcile.Result, error) {
			GinkgoHelper()
			Expect(k8s.Delete(ctx, policy)).To(Succeed())
			return reconcileOne(ctx, policy)
		}
		isGone := func(ctx context.Context) bool {
			return apierrors.IsNotFound(k8s.Get(ctx, client.ObjectKeyFromObject(policy), &v1.CachePolicy{}))
		}

		BeforeEach(func(ctx SpecContext) {
			policy = controllertest.UsersPolicy()
			on.create(ctx, policy)
			policy = settle(ctx, policy)
			on.fill(ctx, "users", "list", "", 1500)
			events.Take()
		})

		It("withdraws policy and entries", func(ctx SpecContext) {
			_, err := remove(ctx)

			Expect(err).NotTo(HaveOccurred())
			Expect(isGone(ctx)).To(BeTrue())
			Expect(inRedis(ctx, "users").Operations).To(BeEmpty())
			Expect(on.cached(ctx, "users", "list", "", 10)).To(BeZero())
			Expect(on.redis.DBSize(ctx).Val()).To(BeZero(), "something was left in Redis")
			Expect(events.Take()).To(ConsistOf(ContainSubstring("Normal Withdrawn")))
		})

		It("leaves both with Retain", func(ctx SpecContext) {
			update(ctx, policy, func(spec *v1.CachePolicySpec) { spec.DeletionPolicy = v1.DeletionRetain })
			policy = settle(ctx, policy)
			Expect(policy.Finalizers).To(BeEmpty())

			_, err := remove(ctx)

			Expect(err).NotTo(HaveOccurred())
			Expect(isGone(ctx)).To(BeTrue())
			Expect(inRedis(ctx, "users").TTL("list")).To(Equal(3 * time.Minute))
			Expect(on.cached(ctx, "users", "list", "", 10)).To(Equal(10))
			Expect(reconciler.Snapshot.Len()).To(BeZero(), "its statistics are still shown")
		})

		It("leaves the policy in Redis where Retain came just before the deletion", func(ctx SpecContext) {
			update(ctx, policy, func(spec *v1.CachePolicySpec) { spec.DeletionPolicy = v1.DeletionRetain })

			_, err := remove(ctx)

			Expect(err).NotTo(HaveOccurred())
			Expect(isGone(ctx)).To(BeTrue())
			Expect(events.Take()).To(ContainElement(ContainSubstring("Normal Retained")))
			Expect(on.cached(ctx, "users", "list", "", 10)).To(Equal(10))
		})

		It("says so while entries are being removed", func(ctx SpecContext) {
			on.fill(ctx, "users", "getById", "", 5000)
			stores.Store = storetest.Slow{SessionStore: on.cache, Clock: clock}

			_, err := remove(ctx)
			Expect(err).NotTo(HaveOccurred())
			Expect(controllertest.Ready(current(ctx, policy).Status.Conditions)).To(Equal("False Deleting"))

			stores.Store = on.cache
			_, err = reconcileOne(ctx, policy)
			Expect(err).NotTo(HaveOccurred())
			Expect(isGone(ctx)).To(BeTrue())
		})

		It("waits for a store that is down, but not forever", func(ctx SpecContext) {
			stores.Err = controllertest.ErrDown
			result, err := remove(ctx)
			Expect(err).NotTo(HaveOccurred())
			Expect(result.RequeueAfter).To(BeNumerically(">", 0))
			policy = current(ctx, policy)
			Expect(controllertest.Ready(policy.Status.Conditions)).To(Equal("False StoreUnreachable"))
			events.Take()
			clock.SetTime(policy.DeletionTimestamp.Add(59500 * time.Millisecond))
			result, err = reconcileOne(ctx, policy)
			Expect(err).NotTo(HaveOccurred())
			Expect(result.RequeueAfter).To(BeNumerically("<=", 500*time.Millisecond), "it retries too late")

			clock.SetTime(policy.DeletionTimestamp.Add(time.Minute))
			_, err = reconcileOne(ctx, policy)

			Expect(err).NotTo(HaveOccurred())
			Expect(isGone(ctx)).To(BeTrue())
			Expect(events.Take()).To(ConsistOf(And(
				ContainSubstring("Warning Abandoned"),
				ContainSubstring("redis-cli FCALL cw_policy_delete 1 'cw:{%s/users}'", on.namespace),
				ContainSubstring(on.server.Addr()),
				Not(ContainSubstring("tried again")),
			)))
		})

		It("does not wait for a CacheStore that is not there", func(ctx SpecContext) {
			policy = controllertest.UsersPolicy()
			policy.Name, policy.Spec.Module, policy.Spec.StoreRef = "orphans", "orphans", &v1.StoreReference{Name: "gone"}
			on.create(ctx, policy)
			policy = settle(ctx, policy)
			Expect(policy.Finalizers).To(ConsistOf(v1.CachePolicyFinalizer))
			events.Take()
			stores.Err = status.ErrStoreNotFound

			_, err := remove(ctx)

			Expect(err).NotTo(HaveOccurred())
			Expect(isGone(ctx)).To(BeTrue())
			Expect(events.Take()).To(ConsistOf(ContainSubstring("Warning Abandoned")))
		})
	})

	DescribeTable("holds no policy that was never written to Redis",
		func(ctx SpecContext, trouble error, change func(*v1.CachePolicySpec)) {
			stores.Err = trouble
			policy := controllertest.UsersPolicy()
			change(&policy.Spec)
			on.create(ctx, policy)

			_, err := reconcileOne(ctx, policy)

			Expect(err).NotTo(HaveOccurred())
			policy = current(ctx, policy)
			Expect(policy.Status.Conditions).NotTo(BeEmpty())
			Expect(policy.Finalizers).To(BeEmpty())
		},
		Entry("the store is down", controllertest.ErrDown, func(*v1.CachePolicySpec) {}),
		Entry("there is no store", status.ErrStoreNotFound, func(spec *v1.CachePolicySpec) { spec.StoreRef = &v1.StoreReference{Name: "nowhere"} }),
		Entry("it is suspended", nil, func(spec *v1.CachePolicySpec) { spec.Suspend = true }),
	)

	DescribeTable("says what is wrong with the store",
		func(ctx SpecContext, err error, wantReady, wantProgress, wantMessage string) {
			stores.Err = err
			policy := controllertest.UsersPolicy()
			on.create(ctx, policy)

			result, reconcileErr := reconcileOne(ctx, policy)
			Expect(reconcileErr).NotTo(HaveOccurred())
			policy = current(ctx, policy)

			Expect(result.RequeueAfter).To(BeNumerically(">=", time.Second))
			Expect(controllertest.Ready(policy.Status.Conditions)).To(Equal(wantReady))
			Expect(meta.IsStatusConditionTrue(policy.Status.Conditions, wantProgress)).To(BeTrue())
			Expect(status.Ready(policy.Status.Conditions).Message).To(And(ContainSubstring(wantMessage), ContainSubstring(on.server.Addr())))
			Expect(policy.Status.ObservedGeneration).To(Equal(policy.Generation))
			Expect(events.Take()).To(ConsistOf(ContainSubstring("Warning")))

			By("recovering")
			stores.Err = nil
			Expect(controllertest.Ready(settle(ctx, policy).Status.Conditions)).To(Equal("True Applied"))
		},
		Entry("unreachable", controllertest.ErrDown, "False StoreUnreachable", v1.ConditionReconciling, "REDIS_HOST"),
		Entry("unauthorized", controllertest.ErrPassword, "False StoreUnauthorized", v1.ConditionReconciling, "REDIS_PASSWORD"),
		Entry("too old", controllertest.ErrOld, "False StoreUnsupported", v1.ConditionStalled, "Redis 6.2.14"),
	)

	It("gives up on a policy that the library refuses, until it is changed", func(ctx SpecContext) {
		policy := controllertest.UsersPolicy()
		on.create(ctx, policy)
		store.FailBefore("ApplyPolicy", controllertest.ErrRefused)

		_, err := reconcileOne(ctx, policy)

		Expect(err).To(MatchError(reconcile.TerminalError(nil)))
		policy = current(ctx, policy)
		Expect(controllertest.Ready(policy.Status.Conditions)).To(Equal("False Rejected"))
		Expect(controllertest.Condition(policy.Status.Conditions, v1.ConditionStalled)).To(Equal("True Rejected"))
		Expect(policy.Status.ObservedGeneration).To(Equal(policy.Generation))
		Expect(status.Ready(policy.Status.Conditions).Message).To(ContainSubstring("revision must be a string"))
	})

	It("writes statistics when they changed, and at most once an interval", func(ctx SpecContext) {
		policy := controllertest.UsersPolicy()
		on.create(ctx, policy)
		policy = settle(ctx, policy)
		Expect(policy.Status.Stats.Keys).To(BeZero())
		on.fill(ctx, "users", "list", "", 4)
		count(ctx, policy)

		By("waiting for the interval to pass")
		early := settle(ctx, policy)
		Expect(early.ResourceVersion).To(Equal(policy.ResourceVersion))

		clock.SetTime(clock.Now().Add(time.Minute))
		late := settle(ctx, policy)
		Expect(late.Status.Stats.Keys).To(BeEquivalentTo(4))
		Expect(late.Status.Stats.ObservedTime.Time).To(BeTemporally("==", clock.Now()))

		By("writing nothing at rest")
		clock.SetTime(clock.Now().Add(time.Hour))
		count(ctx, policy)
		Expect(settle(ctx, policy).ResourceVersion).To(Equal(late.ResourceVersion))
		Expect(store.Count("Stats")).To(Equal(1), "it reads statistics itself only of what it just applied")
	})

	It("reclaims what others left behind", func(ctx SpecContext) {
		policy := controllertest.UsersPolicy()
		on.create(ctx, policy)
		settle(ctx, policy)
		on.fill(ctx, "users", "list", "", 3000)
		left, err := on.cache.Invalidate(ctx, on.slot("users"), registry.Scope{}, registry.ModeHard, "")
		Expect(err).NotTo(HaveOccurred())
		Expect(left.Pending).To(BeEquivalentTo(3000))

		count(ctx, policy)
		settle(ctx, policy)

		counted, err := on.cache.Stats(ctx, on.slot("users"))
		Expect(err).NotTo(HaveOccurred())
		Expect(counted.Pending).To(BeZero())
	})

	It("never changes the spec", func(ctx SpecContext) {
		policy := controllertest.UsersPolicy()
		policy.Spec.DefaultTTL = &metav1.Duration{Duration: time.Hour}
		on.create(ctx, policy)
		// As a person wrote it: "1h" must not become "1h0m0s".
		written := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"defaultTTL":"1h"}}`))
		Expect(k8s.Patch(ctx, policy, written)).To(Succeed())
		generation := policy.Generation

		settle(ctx, policy)

		raw := rawSpec(ctx, policy)
		Expect(raw).To(HaveKeyWithValue("defaultTTL", "1h"))
		Expect(current(ctx, policy).Generation).To(Equal(generation))
	})
})
