// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/cacheinvalidation"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/metrics"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/recovery"
	"github.com/cachewright/cachewright/controllers/stores/storetest"
	"github.com/cachewright/cachewright/registry"
)

var _ = Describe("CacheInvalidationReconciler", func() {
	const alice, bob = "user-alice", "user-bob"

	var (
		on         *stage
		store      *controllertest.BrittleStore
		stores     *storetest.Provider
		events     *controllertest.EventLog
		clock      *clocktesting.FakePassiveClock
		reconciler *cacheinvalidation.Reconciler
	)

	BeforeEach(func(ctx SpecContext) {
		on = newStage(ctx)
		store, events = controllertest.NewBrittleStore(on.cache), &controllertest.EventLog{}
		stores = &storetest.Provider{Store: store, Address: on.server.Addr()}
		clock = clocktesting.NewFakePassiveClock(time.Now())
		reconciler = &cacheinvalidation.Reconciler{
			Journal: recovery.NewJournal(),
			Client:  k8s, Reader: k8s, Stores: stores, Events: events, Metrics: metrics.New(stats.NewSnapshot()), Clock: clock,
			ReclaimSlice: time.Second,
		}
		for _, module := range []string{"users", "posts"} {
			policy := controllertest.UsersPolicy()
			policy.Name, policy.Spec.Module = module, module
			on.create(ctx, policy)
			_, err := on.cache.ApplyPolicy(ctx, on.slot(module), convert.Policy(&policy.Spec))
			Expect(err).NotTo(HaveOccurred())
		}
	})

	reconcileOne := func(ctx context.Context, invalidation *v1.CacheInvalidation) (reconcile.Result, error) {
		return reconciler.Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(invalidation)})
	}
	// step creates a purge where it is not there yet, reconciles it once and returns it.
	step := func(ctx context.Context, invalidation *v1.CacheInvalidation) *v1.CacheInvalidation {
		GinkgoHelper()
		if invalidation.UID == "" {
			on.create(ctx, invalidation)
		}
		_, err := reconcileOne(ctx, invalidation)
		Expect(err).NotTo(HaveOccurred())
		return current(ctx, invalidation)
	}
	isGone := func(ctx context.Context, invalidation *v1.CacheInvalidation) bool {
		return apierrors.IsNotFound(k8s.Get(ctx, client.ObjectKeyFromObject(invalidation), &v1.CacheInvalidation{}))
	}
	// entries are what the specs below purge parts of.
	entries := []struct{ module, operation, user string }{
		{"users", "list", ""},
		{"users", "getById", ""},
		{"users", "list", alice},
		{"users", "getById", alice},
		{"users", "list", bob},
		{"posts", "list", ""},
		{"posts", "list", alice},
	}
	fillAll := func(ctx context.Context) {
		for _, e := range entries {
			on.fill(ctx, e.module, e.operation, e.user, 2)
		}
	}
	// left names what can still be read.
	left := func(ctx context.Context) []string {
		var names []string
		for _, e := range entries {
			if on.cached(ctx, e.module, e.operation, e.user, 2) == 2 {
				names = append(names, e.module+" "+e.operation+" "+e.user)
			}
		}
		return names
	}

	It("reads the modules of the namespace only where it has to", func(ctx SpecContext) {
		fillAll(ctx)
		step(ctx, controllertest.Invalidation(v1.InvalidationTarget{Module: "users", Operation: "list"}))
		Expect(store.Count("Modules")).To(BeZero(), "the target names the module")

		step(ctx, controllertest.Invalidation(v1.InvalidationTarget{UserID: alice}, v1.InvalidationTarget{All: true}))
		Expect(store.Count("Modules")).To(Equal(1), "both targets reach all")
	})

	DescribeTable("purges exactly what a target names",
		func(ctx SpecContext, target v1.InvalidationTarget, wantKeys, wantModules int, wantSummary string, wantLeft []string) {
			fillAll(ctx)

			invalidation := step(ctx, controllertest.Invalidation(target))

			Expect(left(ctx)).To(Equal(wantLeft))
			Expect(invalidation.Status.State).To(Equal(v1.StateComplete))
			Expect(controllertest.Condition(invalidation.Status.Conditions, v1.ConditionComplete)).To(Equal("True Invalidated"))
			Expect(*invalidation.Status.KeysInvalidated).To(BeEquivalentTo(wantKeys))
			Expect(*invalidation.Status.KeysReclaimed).To(BeEquivalentTo(wantKeys))
			Expect(invalidation.Status.Targets).To(HaveExactElements(HaveField("Modules", BeEquivalentTo(wantModules))))
			Expect(invalidation.Status.TargetSummary).To(Equal(wantSummary))
			Expect(invalidation.Status.EffectiveTime.Time).To(BeTemporally("~", clock.Now(), time.Microsecond))
			Expect(invalidation.Status.Duration).NotTo(BeEmpty())
			Expect(events.Take()).To(ConsistOf(fmt.Sprintf("Normal Invalidated: keys invalidated: %d", wantKeys)))
		},
		Entry("a module", v1.InvalidationTarget{Module: "users"}, 10, 1, "users",
			[]string{"posts list ", "posts list " + alice}),
		Entry("an operation", v1.InvalidationTarget{Module: "users", Operation: "list"}, 6, 1, "users/list",
			[]string{"users getById ", "users getById " + alice, "posts list ", "posts list " + alice}),
		Entry("a user everywhere", v1.InvalidationTarget{UserID: alice}, 6, 2, "user "+alice,
			[]string{"users list ", "users getById ", "users list " + bob, "posts list "}),
		Entry("a user of a module", v1.InvalidationTarget{Module: "users", UserID: alice}, 4, 1, "users user "+alice,
			[]string{"users list ", "users getById ", "users list " + bob, "posts list ", "posts list " + alice}),
		Entry("an operation of a user", v1.InvalidationTarget{Module: "users", Operation: "list", UserID: alice}, 2, 1,
			"users/list user "+alice,
			[]string{"users list ", "users getById ", "users getById " + alice, "users list " + bob, "posts list ", "posts list " + alice}),
		Entry("all", v1.InvalidationTarget{All: true}, 14, 2, "all", nil),
	)

	It("reports each of several targets", func(ctx SpecContext) {
		fillAll(ctx)

		invalidation := step(ctx, controllertest.Invalidation(
			v1.InvalidationTarget{Module: "users", Operation: "list"},
			v1.InvalidationTarget{Module: "users", Operation: "nonsense"},
			v1.InvalidationTarget{UserID: alice},
		))

		Expect(*invalidation.Status.KeysInvalidated).To(BeEquivalentTo(6 + 4))
		Expect(invalidation.Status.TargetSummary).To(Equal("users/list and 2 more"))
		Expect(invalidation.Status.Targets).To(HaveExactElements(
			v1.TargetResult{Modules: 1, KeysInvalidated: 6},
			HaveField("Message", ContainSubstring("no such operation: the policy of module users has no nonsense")),
			v1.TargetResult{Modules: 2, KeysInvalidated: 4},
		))
	})

	It("knows modules that only Redis knows", func(ctx SpecContext) {
		spec := controllertest.UsersPolicy().Spec
		_, err := on.cache.ApplyPolicy(ctx, on.slot("retained"), convert.Policy(&spec))
		Expect(err).NotTo(HaveOccurred())
		on.fill(ctx, "retained", "list", alice, 2)

		invalidation := step(ctx, controllertest.Invalidation(v1.InvalidationTarget{UserID: alice}))

		Expect(*invalidation.Status.KeysInvalidated).To(BeEquivalentTo(2))
	})

	It("knows modules that Redis forgot", func(ctx SpecContext) {
		on.fill(ctx, "users", "list", alice, 2)
		Expect(on.redis.Del(ctx, "cw:{"+on.namespace+"}:modules").Val()).To(BeEquivalentTo(1))

		invalidation := step(ctx, controllertest.Invalidation(v1.InvalidationTarget{UserID: alice}, v1.InvalidationTarget{UserID: bob}, v1.InvalidationTarget{Module: "users"}))

		Expect(*invalidation.Status.KeysInvalidated).To(BeEquivalentTo(2))

		By("saying that there may be others")
		Expect(invalidation.Status.Targets[0].Message).To(HavePrefix("Redis has no list"))
		Expect(invalidation.Status.Targets[1].Message).To(And(HavePrefix("no module of namespace"), ContainSubstring("Redis has no list")))
		Expect(invalidation.Status.Targets[2].Message).NotTo(ContainSubstring("Redis has no list"))
		Expect(status.Ready(invalidation.Status.Conditions).Message).To(ContainSubstring("Redis has no list"))
		Expect(events.Take()).To(ContainElement(ContainSubstring("Redis has no list")))
	})

	It("counts in a dry run and changes nothing", func(ctx SpecContext) {
		fillAll(ctx)
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		invalidation.Spec.DryRun = true

		invalidation = step(ctx, invalidation)

		Expect(left(ctx)).To(HaveLen(len(entries)))
		Expect(controllertest.Ready(invalidation.Status.Conditions)).To(Equal("True Counted"))
		Expect(controllertest.Condition(invalidation.Status.Conditions, v1.ConditionComplete)).To(Equal("True Counted"))
		Expect(invalidation.Status.State).To(Equal(v1.StateCounted), "it looks like a purge")
		Expect(*invalidation.Status.KeysInvalidated).To(BeEquivalentTo(10))
		Expect(invalidation.Status.EffectiveTime).To(BeNil())
		Expect(invalidation.Status.KeysReclaimed).To(BeNil())
	})

	It("makes entries stale in mode Soft, and frees none", func(ctx SpecContext) {
		fillAll(ctx)
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users", Operation: "list"})
		invalidation.Spec.Mode = v1.ModeSoft

		invalidation = step(ctx, invalidation)

		Expect(left(ctx)).To(HaveLen(len(entries)))
		Expect(controllertest.Ready(invalidation.Status.Conditions)).To(Equal("True Invalidated"))
		Expect(status.Ready(invalidation.Status.Conditions).Message).To(Equal("keys made stale: 6"))
		Expect(*invalidation.Status.KeysInvalidated).To(BeEquivalentTo(6))
		Expect(invalidation.Status.EffectiveTime).NotTo(BeNil())
		Expect(invalidation.Status.KeysReclaimed).To(BeNil())
		for _, e := range entries {
			lookup, err := on.cache.Read(ctx, registry.Key{Slot: on.slot(e.module), Operation: e.operation, User: e.user, ID: "id-0"})
			Expect(err).NotTo(HaveOccurred())
			Expect(lookup.Stale).To(Equal(e.module == "users" && e.operation == "list"), "%s %s", e.module, e.operation)
		}
	})

	It("says why nothing matched", func(ctx SpecContext) {
		invalidation := step(ctx, controllertest.Invalidation(v1.InvalidationTarget{Module: "usrs"}))

		Expect(controllertest.Ready(invalidation.Status.Conditions)).To(Equal("True NothingMatched"))
		Expect(status.Ready(invalidation.Status.Conditions).Message).To(And(ContainSubstring("declares usrs"), ContainSubstring("posts, users")))
	})

	Describe("exactly once", func() {
		list := v1.InvalidationTarget{Module: "users", Operation: "list"}

		It("repeats nothing when its status could not be written", func(ctx SpecContext) {
			on.fill(ctx, "users", "list", "", 3)
			refuse := true
			reconciler.Client = interceptor.NewClient(k8s, interceptor.Funcs{
				SubResourceUpdate: func(
					ctx context.Context, c client.Client, sub string, obj client.Object, o ...client.SubResourceUpdateOption,
				) error {
					if refuse {
						return apierrors.NewServiceUnavailable("the API server is away")
					}
					return c.SubResource(sub).Update(ctx, obj, o...)
				},
			})
			invalidation := controllertest.Invalidation(list)
			on.create(ctx, invalidation)
			_, err := reconcileOne(ctx, invalidation)
			Expect(err).To(MatchError(ContainSubstring("the API server is away")))
			Expect(events.Take()).To(BeEmpty())

			refuse = false
			on.fill(ctx, "users", "list", "", 3)
			invalidation = step(ctx, invalidation)

			Expect(on.cached(ctx, "users", "list", "", 3)).To(Equal(3), "what was cached after the purge went, too")
			Expect(*invalidation.Status.KeysInvalidated).To(BeEquivalentTo(3))
			Expect(invalidation.Status.State).To(Equal(v1.StateComplete))
		})

		It("repeats nothing when the answer of Redis was lost", func(ctx SpecContext) {
			on.fill(ctx, "users", "list", "", 3)
			store.FailAfter("Invalidate", controllertest.ErrLost)
			invalidation := step(ctx, controllertest.Invalidation(list))
			Expect(invalidation.Status.State).To(Equal(v1.StatePending))
			Expect(controllertest.Ready(invalidation.Status.Conditions)).To(Equal("False StoreUnreachable"))

			store.FailAfter("Invalidate", nil)
			on.fill(ctx, "users", "list", "", 3)
			invalidation = step(ctx, invalidation)

			Expect(on.cached(ctx, "users", "list", "", 3)).To(Equal(3))
			Expect(*invalidation.Status.KeysInvalidated).To(BeEquivalentTo(3))
		})

		It("does nothing once it is complete, whatever the cache says", func(ctx SpecContext) {
			invalidation := controllertest.Invalidation(list)
			on.create(ctx, invalidation)
			stale := current(ctx, invalidation)
			invalidation = step(ctx, invalidation)
			Expect(store.Count("Invalidate")).To(Equal(1))
			reconciler.Client = interceptor.NewClient(k8s, interceptor.Funcs{
				Get: func(_ context.Context, _ client.WithWatch, _ client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
					stale.DeepCopyInto(obj.(*v1.CacheInvalidation))
					return nil
				},
			})

			again := step(ctx, invalidation)

			Expect(store.Count("Invalidate")).To(Equal(1))
			Expect(again.ResourceVersion).To(Equal(invalidation.ResourceVersion))
		})

		It("leaves alone what a successor wrote while it was held up", func(ctx SpecContext) {
			on.fill(ctx, "users", "list", "", 3)
			invalidation := controllertest.Invalidation(list)
			on.create(ctx, invalidation)
			successor := *reconciler
			var completed *v1.CacheInvalidation
			reconciler.Client = interceptor.NewClient(k8s, interceptor.Funcs{
				SubResourceUpdate: func(
					ctx context.Context, c client.Client, sub string, obj client.Object, o ...client.SubResourceUpdateOption,
				) error {
					clock.SetTime(clock.Now().Add(time.Hour))
					_, err := successor.Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(invalidation)})
					Expect(err).NotTo(HaveOccurred())
					completed = current(ctx, invalidation)
					return c.SubResource(sub).Update(ctx, obj, o...)
				},
			})

			invalidation = step(ctx, invalidation)

			Expect(completed.Status.State).To(Equal(v1.StateComplete))
			Expect(*completed.Status.KeysInvalidated).To(BeEquivalentTo(3))
			Expect(invalidation.ResourceVersion).To(Equal(completed.ResourceVersion))
			Expect(events.Take()).To(HaveLen(1), "the invalidation was reported twice")
		})
	})

	Describe("a large purge", func() {
		const keys = 3000
		var invalidation *v1.CacheInvalidation

		BeforeEach(func(ctx SpecContext) {
			on.fill(ctx, "users", "list", "", keys)
			reconciler.ReclaimSlice = 0
			invalidation = step(ctx, controllertest.Invalidation(v1.InvalidationTarget{Module: "users"}))
		})

		It("is in effect at once, and reclaims in steps", func(ctx SpecContext) {
			Expect(on.cached(ctx, "users", "list", "", keys)).To(BeZero())
			Expect(invalidation.Status.State).To(Equal(v1.StateReclaiming))
			Expect(controllertest.Ready(invalidation.Status.Conditions)).To(Equal("False Reclaiming"))
			Expect(*invalidation.Status.KeysInvalidated).To(BeEquivalentTo(keys))
			Expect(*invalidation.Status.KeysReclaimed).To(BeZero())
			Expect(invalidation.Status.Targets[0].KeysPending).To(BeEquivalentTo(keys))

			invalidation = step(ctx, invalidation)
			Expect(*invalidation.Status.KeysReclaimed).To(BeEquivalentTo(200), "one chunk")

			for invalidation.Status.State == v1.StateReclaiming {
				before := *invalidation.Status.KeysReclaimed
				invalidation = step(ctx, invalidation)
				Expect(*invalidation.Status.KeysReclaimed).To(BeNumerically(">", before))
			}
			Expect(invalidation.Status.State).To(Equal(v1.StateComplete))
			Expect(*invalidation.Status.KeysReclaimed).To(BeEquivalentTo(keys))
			Expect(store.Count("Invalidate")).To(Equal(1))
			Expect(events.Take()).To(HaveExactElements(
				ContainSubstring("Normal Reclaiming"), ContainSubstring("Normal Invalidated")))
		})

		It("waits for a store that is lost meanwhile", func(ctx SpecContext) {
			store.FailBefore("Reclaim", controllertest.ErrDown)
			invalidation = step(ctx, invalidation)
			Expect(invalidation.Status.State).To(Equal(v1.StateReclaiming))
			Expect(controllertest.Ready(invalidation.Status.Conditions)).To(Equal("False StoreUnreachable"))
			Expect(status.Ready(invalidation.Status.Conditions).Message).To(HavePrefix("in effect"))

			store.FailBefore("Reclaim", nil)
			reconciler.ReclaimSlice = time.Minute
			Expect(step(ctx, invalidation).Status.State).To(Equal(v1.StateComplete))
		})
	})

	Describe("spec.activeDeadlineSeconds", func() {
		var invalidation *v1.CacheInvalidation

		BeforeEach(func() {
			invalidation = controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
			invalidation.Spec.ActiveDeadlineSeconds = new(int64(60))
		})

		It("fails a purge that did not take effect in time", func(ctx SpecContext) {
			stores.Err = controllertest.ErrDown
			on.create(ctx, invalidation)
			clock.SetTime(invalidation.CreationTimestamp.Add(59500 * time.Millisecond))
			result, err := reconcileOne(ctx, invalidation)
			Expect(err).NotTo(HaveOccurred())
			Expect(result.RequeueAfter).To(BeNumerically("<=", 500*time.Millisecond), "it retries too late")

			clock.SetTime(invalidation.CreationTimestamp.Add(60 * time.Second))
			invalidation = step(ctx, invalidation)

			Expect(invalidation.Status.State).To(Equal(v1.StateFailed))
			Expect(controllertest.Condition(invalidation.Status.Conditions, v1.ConditionFailed)).To(Equal("True DeadlineExceeded"))
			Expect(status.Ready(invalidation.Status.Conditions).Message).To(And(
				ContainSubstring("not known to be in effect 60 seconds after creation"), ContainSubstring("connection refused"),
				Not(ContainSubstring("tried again"))))

			By("being final, even if the store comes back")
			stores.Err = nil
			Expect(step(ctx, invalidation).ResourceVersion).To(Equal(invalidation.ResourceVersion))
			Expect(store.Count("Invalidate")).To(BeZero())
		})

		It("counts the time that the operator was away", func(ctx SpecContext) {
			on.create(ctx, invalidation)
			clock.SetTime(invalidation.CreationTimestamp.Add(time.Hour))

			Expect(step(ctx, invalidation).Status.State).To(Equal(v1.StateFailed))
			Expect(store.Count("Invalidate")).To(BeZero())
		})

		It("completes a purge that is in effect when the store is lost", func(ctx SpecContext) {
			on.fill(ctx, "users", "list", "", 3000)
			invalidation = step(ctx, invalidation)
			Expect(invalidation.Status.State).To(Equal(v1.StateReclaiming))

			stores.Err = controllertest.ErrDown
			clock.SetTime(invalidation.CreationTimestamp.Add(time.Minute))
			invalidation = step(ctx, invalidation)

			Expect(invalidation.Status.State).To(Equal(v1.StateComplete))
			Expect(status.Ready(invalidation.Status.Conditions).Message).To(ContainSubstring("Redis frees the rest when it expires"))
		})
	})

	It("forgets no target that took effect when a later attempt gets less far", func(ctx SpecContext) {
		on.fill(ctx, "users", "list", "", 3)
		on.fill(ctx, "posts", "list", "", 2)
		store.FailOnce("Invalidate", controllertest.ErrDamaged)
		invalidation := step(ctx, controllertest.Invalidation(v1.InvalidationTarget{Module: "users"}, v1.InvalidationTarget{Module: "posts"}))
		Expect(invalidation.Status.State).To(Equal(v1.StatePending))
		Expect(on.cached(ctx, "posts", "list", "", 2)).To(BeZero(), "the other target held it up")
		Expect(invalidation.Status.Targets).To(HaveExactElements(
			And(HaveField("Modules", BeZero()), HaveField("Message", ContainSubstring("WRONGTYPE"))),
			v1.TargetResult{Modules: 1, KeysInvalidated: 2}))

		By("losing the store before any target")
		store.FailBefore("Invalidate", controllertest.ErrDown)
		held := invalidation.Status.Targets
		invalidation = step(ctx, invalidation)
		Expect(invalidation.Status.State).To(Equal(v1.StatePending))
		Expect(invalidation.Status.Targets).To(Equal(held))
		Expect(*invalidation.Status.KeysInvalidated).To(BeEquivalentTo(2))

		By("completing with the counts of the first time")
		store.FailBefore("Invalidate", nil)
		invalidation = step(ctx, invalidation)
		Expect(invalidation.Status.State).To(Equal(v1.StateComplete))
		Expect(invalidation.Status.Targets).To(HaveExactElements(
			v1.TargetResult{Modules: 1, KeysInvalidated: 3}, v1.TargetResult{Modules: 1, KeysInvalidated: 2}))
	})

	It("tries the other targets until they are done, though one was refused", func(ctx SpecContext) {
		on.fill(ctx, "posts", "list", "", 2)
		store.FailOnce("Invalidate", controllertest.ErrRefused)
		store.FailBefore("Invalidate", controllertest.ErrDown)
		invalidation := step(ctx, controllertest.Invalidation(v1.InvalidationTarget{Module: "users"}, v1.InvalidationTarget{Module: "posts"}))
		Expect(invalidation.Status.State).To(Equal(v1.StatePending), "the second target was never tried")
		Expect(controllertest.Ready(invalidation.Status.Conditions)).To(Equal("False StoreUnreachable"))

		store.FailOnce("Invalidate", controllertest.ErrRefused)
		store.FailBefore("Invalidate", nil)
		invalidation = step(ctx, invalidation)
		Expect(controllertest.Condition(invalidation.Status.Conditions, v1.ConditionFailed)).To(Equal("True Rejected"))
		Expect(on.cached(ctx, "posts", "list", "", 2)).To(BeZero())
		Expect(invalidation.Status.Targets).To(HaveExactElements(
			HaveField("Message", ContainSubstring("refused")), v1.TargetResult{Modules: 1, KeysInvalidated: 2}))
	})

	It("fails a target that the library refuses, and purges the others", func(ctx SpecContext) {
		on.fill(ctx, "users", "list", "", 3)
		store.FailOnce("Invalidate", controllertest.ErrRefused)

		invalidation := step(ctx, controllertest.Invalidation(v1.InvalidationTarget{Module: "users", UserID: alice}, v1.InvalidationTarget{Module: "users"}))

		Expect(controllertest.Condition(invalidation.Status.Conditions, v1.ConditionFailed)).To(Equal("True Rejected"))
		Expect(meta.IsStatusConditionTrue(invalidation.Status.Conditions, v1.ConditionComplete)).To(BeFalse())
		Expect(invalidation.Status.Targets[0].Message).To(ContainSubstring("revision must be a string"))
		Expect(invalidation.Status.Targets[1].KeysInvalidated).To(BeEquivalentTo(3))
		Expect(on.cached(ctx, "users", "list", "", 3)).To(BeZero())
		Expect(invalidation.Status.EffectiveTime).NotTo(BeNil(), "of what took effect")
	})

	It("reports the counts of the first time, however long other targets take", func(ctx SpecContext) {
		on.fill(ctx, "users", "list", "", 3)
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"}, v1.InvalidationTarget{UserID: alice})
		store.FailBefore("Modules", controllertest.ErrLost)
		invalidation = step(ctx, invalidation)
		Expect(invalidation.Status.State).To(Equal(v1.StatePending))
		Expect(invalidation.Status.Targets).To(HaveExactElements(v1.TargetResult{Modules: 1, KeysInvalidated: 3}, v1.TargetResult{}))

		By("Redis having forgotten, as it does after a day")
		request := "cw:{" + on.slot("users").String() + "}:r:" + resource.RequestID(invalidation, 0)
		Expect(on.redis.Del(ctx, request).Val()).To(BeEquivalentTo(1))
		on.fill(ctx, "users", "list", "", 1)
		store.FailBefore("Modules", nil)
		invalidation = step(ctx, invalidation)

		Expect(invalidation.Status.State).To(Equal(v1.StateComplete))
		Expect(*invalidation.Status.KeysInvalidated).To(BeEquivalentTo(3))
		Expect(invalidation.Status.Targets[0].KeysInvalidated).To(BeEquivalentTo(3))
		Expect(on.cached(ctx, "users", "list", "", 1)).To(BeZero(), "what was purged may be in another Redis by now, so it is again")
	})

	Describe("spec.ttlSecondsAfterFinished", func() {
		var invalidation *v1.CacheInvalidation

		BeforeEach(func() {
			invalidation = controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
			invalidation.Spec.TTLSecondsAfterFinished = new(int32(100))
		})

		It("deletes a finished purge when its time has come", func(ctx SpecContext) {
			on.create(ctx, invalidation)
			result, err := reconcileOne(ctx, invalidation)
			Expect(err).NotTo(HaveOccurred())
			Expect(result.RequeueAfter).To(BeNumerically("~", 100*time.Second, time.Second))

			clock.SetTime(clock.Now().Add(98 * time.Second))
			step(ctx, invalidation)
			clock.SetTime(clock.Now().Add(2 * time.Second))
			_, err = reconcileOne(ctx, invalidation)

			Expect(err).NotTo(HaveOccurred())
			Expect(isGone(ctx, invalidation)).To(BeTrue())
		})

		It("keeps a purge that a GitOps tool would create again, and says so", func(ctx SpecContext) {
			invalidation.Annotations = map[string]string{"argocd.argoproj.io/tracking-id": "app:cachewright.io/CacheInvalidation:shop/x"}
			invalidation = step(ctx, invalidation)
			Expect(status.Ready(invalidation.Status.Conditions).Message).To(ContainSubstring("Argo CD would create it again"))

			clock.SetTime(clock.Now().Add(time.Hour))
			result, err := reconcileOne(ctx, invalidation)

			Expect(err).NotTo(HaveOccurred())
			Expect(result).To(BeZero())
			Expect(isGone(ctx, invalidation)).To(BeFalse())
		})
	})

	It("names no user where others can read", func(ctx SpecContext) {
		invalidation := step(ctx, controllertest.Invalidation(v1.InvalidationTarget{UserID: alice}, v1.InvalidationTarget{Module: "users", UserID: alice}))

		Expect(fmt.Sprint(events.Take(), invalidation.Status.Conditions, invalidation.Status.Targets)).NotTo(ContainSubstring(alice))
	})

	It("leaves a purge alone that is being deleted", func(ctx SpecContext) {
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		invalidation.Finalizers = []string{"example.com/hold"}
		on.create(ctx, invalidation)
		Expect(k8s.Delete(ctx, invalidation)).To(Succeed())

		invalidation = step(ctx, invalidation)

		Expect(store.Count("Invalidate")).To(BeZero())
		invalidation.Finalizers = nil
		Expect(k8s.Update(ctx, invalidation)).To(Succeed())
	})

	It("unblocks a namespace whose modules are not known", func(ctx SpecContext) {
		Expect(on.redis.FlushAll(ctx).Err()).To(Succeed())
		Expect(k8s.DeleteAllOf(ctx, &v1.CachePolicy{}, client.InNamespace(on.namespace))).To(Succeed())

		invalidation := step(ctx, controllertest.Invalidation(v1.InvalidationTarget{UserID: alice}))

		Expect(controllertest.Ready(invalidation.Status.Conditions)).To(Equal("True NothingMatched"))
		Expect(status.Ready(invalidation.Status.Conditions).Message).To(ContainSubstring("has no module"))
		_, err := on.cache.Modules(ctx, on.namespace)
		Expect(err).To(MatchError(registry.ErrModulesUnknown))
	})
})
