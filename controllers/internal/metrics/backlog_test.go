// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/stats"
)

func TestWhatWaitsIsCountedByNamespace(t *testing.T) {
	g := NewWithT(t)
	m := New(stats.NewSnapshot())
	policy, other := controllertest.UsersPolicy(), controllertest.UsersPolicy()
	policy.Namespace, other.Namespace, other.Name = "shop", "shop", "other"
	m.notReady.see(policy)
	m.notReady.see(other)
	m.notReady.see(other)
	g.Expect(valuesOf(t, m, "cachewright_policies_not_ready")).To(Equal([]float64{2}))

	meta.SetStatusCondition(&policy.Status.Conditions, metav1.Condition{Type: v1.ConditionReady, Status: metav1.ConditionTrue})
	m.notReady.see(policy)
	g.Expect(valuesOf(t, m, "cachewright_policies_not_ready")).To(Equal([]float64{1}))
	m.notReady.forget(toolscache.DeletedFinalStateUnknown{Key: "shop/other"})
	g.Expect(valuesOf(t, m, "cachewright_policies_not_ready")).To(BeEmpty())
}

func TestTheOldestPendingPurgeHasAnAge(t *testing.T) {
	g := NewWithT(t)
	m := New(stats.NewSnapshot())
	for name, age := range map[string]time.Duration{"old": time.Hour, "young": 0} {
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		invalidation.Namespace, invalidation.Name, invalidation.CreationTimestamp = "shop", name, metav1.NewTime(time.Now().Add(-age))
		m.pending.see(invalidation)
	}
	g.Expect(valuesOf(t, m, "cachewright_pending_invalidations")).To(Equal([]float64{2}))
	g.Expect(valuesOf(t, m, "cachewright_oldest_pending_invalidation_seconds")).To(ConsistOf(BeNumerically(">=", 3600)))

	invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
	invalidation.Namespace, invalidation.Name, invalidation.Status.EffectiveTime = "shop", "old", &metav1.MicroTime{Time: time.Now()}
	m.pending.see(invalidation)
	g.Expect(valuesOf(t, m, "cachewright_pending_invalidations")).To(Equal([]float64{1}), "one in effect waits for memory alone")
}
