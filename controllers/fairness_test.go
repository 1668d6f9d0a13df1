// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// maxTargets is what one CacheInvalidation may have.
const maxTargets = 100

// scaled is the size of a part of a spec: small, or with FAIRNESS_SCALE=full that of the proof.
func scaled(small, full int) int {
	if os.Getenv("FAIRNESS_SCALE") == "full" {
		return full
	}
	return small
}

// quantile is the time that so many of a hundred stayed below.
func quantile(times []time.Duration, percent int) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)]
}

// changes makes purges and policy changes, one after the other, and returns how long each took
// until it was in effect.
func (s *stage) changes(ctx context.Context, count int) (took []time.Duration) {
	GinkgoHelper()
	const often = 10 * time.Millisecond
	for i := range count {
		began := time.Now()
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		s.create(ctx, invalidation)
		Eventually(s.invalidation(ctx, invalidation)).WithPolling(often).Should(beIn(v1.StateComplete))
		took = append(took, time.Since(began))

		began = time.Now()
		policy := controllertest.UsersPolicy()
		policy.Namespace = s.namespace
		s.patch(ctx, policy, fmt.Sprintf(`{"spec":{"defaultTTL":"%ds"}}`, i+1))
		Eventually(s.policy(ctx, "users")).WithPolling(often).Should(And(beReady("True Applied")))
		took = append(took, time.Since(began))
	}
	return took
}

// flood creates so many purges, each of several targets.
func (s *stage) flood(ctx context.Context, count, targetCount int, store *v1.StoreReference, target func(i int) v1.InvalidationTarget) {
	GinkgoHelper()
	targets := make([]v1.InvalidationTarget, targetCount)
	for i := range targets {
		targets[i] = target(i)
	}
	for range count {
		invalidation := controllertest.Invalidation(targets...)
		invalidation.Spec.StoreRef = store
		s.create(ctx, invalidation)
	}
}

// complete counts the purges of a stage that are.
func (s *stage) complete(ctx context.Context) (count int) {
	GinkgoHelper()
	invalidations := &v1.CacheInvalidationList{}
	Expect(k8s.List(ctx, invalidations, client.InNamespace(s.namespace))).To(Succeed())
	for _, invalidation := range invalidations.Items {
		if invalidation.Status.State == v1.StateComplete {
			count++
		}
	}
	return count
}

var _ = Describe("Time that is shared", func() {
	It("does not let others wait for a store that answers slowly", func(ctx SpecContext) {
		slow, other := newStage(ctx), newStage(ctx)
		options := other.quick(other.cache)
		options.StoreCheckInterval, options.StatsInterval = time.Second, time.Minute
		other.operate(adminConfig, options, ofStages(slow, other))
		distant := redistest.StartDistant(GinkgoTB(), slow.server.Addr())
		slow.create(ctx, controllertest.StoreTo("main", distant.Addr()))
		Eventually(slow.store(ctx, "main")).Should(beReady("True Connected"))
		other.create(ctx, controllertest.UsersPolicy())
		Eventually(other.policy(ctx, "users")).Should(beReady("True Applied"))
		count := scaled(20, 500)
		alone := other.changes(ctx, count)

		const delay = 1500 * time.Millisecond
		distant.Delay(delay)
		for i := range scaled(40, 200) {
			policy := controllertest.UsersPolicyIn("main")
			policy.Name, policy.Spec.Module = fmt.Sprint("m", i), fmt.Sprint("m", i)
			slow.create(ctx, policy)
		}
		slow.flood(ctx, 24, scaled(30, maxTargets), &v1.StoreReference{Name: "main"}, func(i int) v1.InvalidationTarget {
			return v1.InvalidationTarget{Module: "users", UserID: fmt.Sprint("user-", i)}
		})
		beside := other.changes(ctx, count)
		Eventually(slow.seen.complete).Should(BeNumerically(">", 0), "its targets take more than a few answers")
		distant.Delay(0)
		alone = append(alone, other.changes(ctx, count)...) // the machine may have become busy meanwhile

		percent := scaled(90, 99) // one of few may meet anything on a busy machine
		was, is := quantile(alone, percent), quantile(beside, percent)
		AddReportEntry("beside a slow store", fmt.Sprintf("p%d %s, alone %s", percent, is, was))
		// What waits for an answer of that store takes longer than half of one.
		atMost := time.Duration(scaled(int(delay/2), int(100*time.Millisecond)))
		Expect(is).To(BeNumerically("<=", max(3*was, atMost)))
	})

	It("lets another namespace's purge take effect beside a flood", func(ctx SpecContext) {
		flooded, other := newStage(ctx), newStage(ctx)
		flooded.operate(adminConfig, flooded.quick(registry.New(flooded.redis)), ofStages(flooded, other))
		Eventually(func() error { return flooded.cache.AddModules(ctx, flooded.namespace, "m0") }).Should(Succeed())
		for i := range scaled(20, 50) {
			Expect(flooded.cache.AddModules(ctx, flooded.namespace, fmt.Sprint("m", i))).To(Succeed())
		}
		size := scaled(30, 300)
		flooded.flood(ctx, size, maxTargets, nil, func(i int) v1.InvalidationTarget {
			return v1.InvalidationTarget{UserID: "user-" + strconv.Itoa(i)}
		})
		before := flooded.complete(ctx)
		began := time.Now()
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		other.create(ctx, invalidation)
		Eventually(other.invalidation(ctx, invalidation)).WithPolling(5 * time.Millisecond).Should(beIn(v1.StateComplete))
		took, after := time.Since(began), flooded.complete(ctx)
		AddReportEntry("beside a flood", fmt.Sprintf("%s; of %d purges %d were complete before and %d after", took, size, before, after))
		Expect(after-before).To(BeNumerically("<=", max(size/3, 3)), "it waited for the flood")
		Eventually(flooded.seen.complete).WithTimeout(5 * controllertest.Timeout).Should(Equal(size))
	})
})
