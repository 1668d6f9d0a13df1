// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/registry"
)

// With FAIRNESS_SCALE=full these are a thousand policies at the operator's own interval, so that the
// reported time is what people see.
var _ = Describe("Many policies", func() {
	many, interval := scaled(60, 1000), time.Duration(scaled(500, 5000))*time.Millisecond

	It("are back soon after Redis lost them, came back empty, or somebody edited them", func(ctx SpecContext) {
		on := newStage(ctx)
		store := controllertest.NewBrittleStore(on.cache)
		options := on.quick(store)
		options.StoreCheckInterval, options.StatsInterval = interval, time.Minute
		operator := on.operate(adminConfig, options)
		slots := make([]registry.Slot, many)
		for i := range slots {
			policy := controllertest.UsersPolicy()
			policy.Name, policy.Spec.Module = fmt.Sprint("m", i), fmt.Sprint("m", i)
			on.create(ctx, policy)
			slots[i] = on.slot(policy.Spec.Module)
		}
		hash := convert.Policy(&controllertest.UsersPolicy().Spec).Hash()
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
			logged := 0
			for line := range strings.Lines(operator.logs.String()) {
				if strings.Contains(line, "Every policy is in place") && strings.Contains(line, fmt.Sprintf(`"policies": %d`, many)) {
					logged++
				}
			}
			return logged
		}
		Eventually(allInPlace).WithTimeout(3*controllertest.Timeout).Should(Equal(1), "the operator does not know that they are in place")

		for what, lost := range map[string]int{"FLUSHALL": many, "an empty start": many, "an edit": many / 20} {
			applied, settled := store.Count("ApplyPolicy"), allInPlace()
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
			Eventually(inPlace).WithContext(ctx).WithTimeout(2 * controllertest.Timeout).Should(Equal(many))
			AddReportEntry(fmt.Sprintf("%d of %d policies are back after %s", lost, many, what), time.Since(began).String())
			Expect(store.Count("ApplyPolicy")-applied).To(BeNumerically("~", lost, lost/10), "each is put in force once")
			Eventually(allInPlace).WithTimeout(controllertest.Timeout).Should(BeNumerically(">", settled))
		}
	})
})
