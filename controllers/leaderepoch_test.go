// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/cacheinvalidation"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/leader"
	"github.com/cachewright/cachewright/controllers/internal/metrics"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/controllers/recovery"
	"github.com/cachewright/cachewright/controllers/stores/storetest"
)

// What is cheap is read from the cache, what a predecessor may have done is read live.
var _ = Describe("The epoch of a leader", func() {
	var (
		on         *stage
		liveReads  int
		reconciler *cacheinvalidation.Reconciler
	)
	users := v1.InvalidationTarget{Module: "users"}

	BeforeEach(func(ctx SpecContext) {
		on, liveReads = newStage(ctx), 0
		_, err := on.cache.ApplyPolicy(ctx, on.slot("users"), convert.Policy(&controllertest.UsersPolicy().Spec))
		Expect(err).NotTo(HaveOccurred())
		counting := interceptor.NewClient(k8s, interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, o ...client.GetOption) error {
				liveReads++
				return c.Get(ctx, key, obj, o...)
			},
		})
		reconciler = &cacheinvalidation.Reconciler{
			Journal: recovery.NewJournal(),
			Client:  k8s, Reader: counting, Stores: &storetest.Provider{Store: on.cache, Address: on.server.Addr()}, Events: &controllertest.EventLog{}, Metrics: metrics.New(stats.NewSnapshot()),
			Clock: clock.RealClock{}, Epoch: leader.NewEpoch(k8s),
		}
	})

	// complete purges once more and returns what became of it.
	complete := func(ctx context.Context, invalidation *v1.CacheInvalidation) *v1.CacheInvalidation {
		GinkgoHelper()
		if invalidation.UID == "" {
			on.create(ctx, invalidation)
		}
		_, err := reconciler.Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(invalidation)})
		Expect(err).NotTo(HaveOccurred())
		return current(ctx, invalidation)
	}

	It("reads live what was there before, and from the cache what came later", func(ctx SpecContext) {
		Expect(complete(ctx, controllertest.Invalidation(users)).Status.State).To(Equal(v1.StateComplete))
		Expect(liveReads).To(Equal(1))

		Expect(complete(ctx, controllertest.Invalidation(users)).Status.State).To(Equal(v1.StateComplete))
		Expect(liveReads).To(Equal(1))
	})

	It("does not repeat what a predecessor did and the cache does not show, even if Redis forgot it", func(ctx SpecContext) {
		invalidation := controllertest.Invalidation(users)
		on.create(ctx, invalidation)
		stale := current(ctx, invalidation)
		predecessor := *reconciler
		predecessor.Epoch = nil
		_, err := predecessor.Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(invalidation)})
		Expect(err).NotTo(HaveOccurred())
		Expect(on.redis.FlushAll(ctx).Err()).To(Succeed())
		_, err = on.cache.ApplyPolicy(ctx, on.slot("users"), convert.Policy(&controllertest.UsersPolicy().Spec))
		Expect(err).NotTo(HaveOccurred())
		on.fill(ctx, "users", "list", "", 3)
		reconciler.Client = interceptor.NewClient(k8s, interceptor.Funcs{
			Get: func(_ context.Context, _ client.WithWatch, _ client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
				stale.DeepCopyInto(obj.(*v1.CacheInvalidation))
				return nil
			},
		})

		Expect(complete(ctx, invalidation).Status.State).To(Equal(v1.StateComplete))

		Expect(on.cached(ctx, "users", "list", "", 3)).To(Equal(3))
	})
})
