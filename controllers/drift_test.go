// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// forgetful is a store without any policy, that counts how often it is asked for them.
type forgetful struct {
	*scriptedStore
	asked atomic.Int64
}

func (s *forgetful) PolicyHashes(_ context.Context, slots []registry.Slot) ([]string, error) {
	s.asked.Add(1)
	return make([]string, len(slots)), nil
}

// One look finds all that is lost, and asks by the batch.
func TestOneLookWakesAllThatIsLost(t *testing.T) {
	const many = 1000
	store := &forgetful{scriptedStore: &scriptedStore{health: fine("a")}}
	monitor, woken := monitorOf(t, store.scriptedStore, true)
	monitor.link = &link{store: store}
	all := crowd{policies: make([]v1.CachePolicy, many)}
	for i := range all.policies {
		policy := usersPolicy()
		policy.Namespace, policy.Name, policy.Spec.Module = "shop", fmt.Sprint("m", i), fmt.Sprint("m", i)
		policy.Status.AppliedHash = "h"
		all.policies[i] = *policy
	}
	monitor.Reader = all
	if err := monitor.mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "not all are woken", func() bool { return woken() == many })
	if asked := int(store.asked.Load()); asked == 0 || asked > many/20 {
		t.Errorf("asked %d times for %d policies, want batches", asked, many)
	}
}

var _ = Describe("A thousand policies", func() {
	// The operator's own interval, so that the time that is told is what people see.
	const many, interval = 1000, 5 * time.Second

	It("are back soon after Redis lost them, came back empty, or somebody edited them", func(ctx SpecContext) {
		on := newStage(ctx)
		store := newBrittleStore(on.cache)
		options := on.quick(store)
		options.StoreCheckInterval, options.StatsInterval = interval, time.Minute
		operator := on.operate(adminConfig, options)
		slots := make([]registry.Slot, many)
		for i := range slots {
			policy := usersPolicy()
			policy.Name, policy.Spec.Module = fmt.Sprint("m", i), fmt.Sprint("m", i)
			on.create(ctx, policy)
			slots[i] = on.slot(policy.Spec.Module)
		}
		hash := policyOf(&usersPolicy().Spec).Hash()
		inPlace := func(ctx context.Context) (count int, err error) {
			hashes, err := on.cache.PolicyHashes(ctx, slots)
			for _, found := range hashes {
				if found == hash {
					count++
				}
			}
			return count, err
		}
		allInPlace := func() int {
			told := 0
			for line := range strings.Lines(operator.logs.String()) {
				if strings.Contains(line, "Every policy is in place") && strings.Contains(line, fmt.Sprintf(`"policies": %d`, many)) {
					told++
				}
			}
			return told
		}
		Eventually(allInPlace).WithTimeout(3*patience).Should(Equal(1), "the operator does not know that they are in place")

		for what, lost := range map[string]int{"FLUSHALL": many, "an empty start": many, "an edit": many / 20} {
			applied, settled := store.count("ApplyPolicy"), allInPlace()
			began := time.Now()
			switch what {
			case "FLUSHALL":
				Expect(on.redis.FlushAll(ctx).Err()).To(Succeed())
			case "an empty start":
				on.server.Restart()
				on.reconnect(ctx)
			default:
				for i := range lost {
					Expect(on.redis.HSet(ctx, fmt.Sprintf("cw:{%s/m%d}:policy", on.namespace, i), "o:list", "1 0 0 0 Any 1").Err()).To(Succeed())
				}
			}
			Eventually(inPlace).WithContext(ctx).WithTimeout(2 * patience).Should(Equal(many))
			AddReportEntry(fmt.Sprintf("%d of %d policies are back after %s", lost, many, what), time.Since(began).String())
			Expect(store.count("ApplyPolicy")-applied).To(BeNumerically("~", lost, lost/10), "each is put in force once")
			Eventually(allInPlace).WithTimeout(patience).Should(BeNumerically(">", settled))
		}
	})
})

func TestPoliciesAreComparedInBatchesOfAboutTheSameWork(t *testing.T) {
	var policies []*v1.CachePolicy
	for _, operations := range []int{0, 128, 3, 128, 128, 128, 128, 1, 20} {
		policy := usersPolicy()
		policy.Spec.Operations = make([]v1.OperationPolicy, operations)
		policies = append(policies, policy)
	}
	var sizes []int
	seen := 0
	for batch := range hashBatches(policies) {
		sizes = append(sizes, len(batch))
		seen += len(batch)
	}
	if seen != len(policies) || !slices.Equal(sizes, []int{6, 3}) {
		t.Errorf("batches of %v policies, want all %d, at most about %d operations at a time", sizes, len(policies), hashBatchWeight)
	}
	for range hashBatches(nil) {
		t.Error("a batch of nothing")
	}
}
