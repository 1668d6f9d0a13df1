// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/internal/redistest"
)

var _ = Describe("Rest", func() {
	It("costs the API server no write, and a store round trips by the batch, not by the policy", func(ctx SpecContext) {
		few, many := 3, scaled(75, 150)
		on := newStage(ctx)
		small, large := on.server, redistest.Start(GinkgoTB())
		first := on.operate(adminConfig, on.quick(nil))
		for name, server := range map[string]*redistest.Server{"small": small, "large": large} {
			on.create(ctx, controllertest.StoreTo(name, server.Addr()))
		}
		for i := range few + many {
			policy := controllertest.UsersPolicyIn("large")
			if i < few {
				policy = controllertest.UsersPolicyIn("small")
			}
			policy.Name, policy.Spec.Module = fmt.Sprintf("m%d", i), fmt.Sprintf("m%d", i)
			on.create(ctx, policy)
		}
		versions := func(ctx context.Context) map[string]string {
			policies := &v1.CachePolicyList{}
			Expect(k8s.List(ctx, policies, client.InNamespace(on.namespace))).To(Succeed())
			found := map[string]string{}
			for i := range policies.Items {
				if policy := &policies.Items[i]; policy.Status.Stats != nil {
					found[policy.Name] = policy.ResourceVersion
				}
			}
			stores := &v1.CacheStoreList{}
			Expect(k8s.List(ctx, stores, client.InNamespace(on.namespace))).To(Succeed())
			for i := range stores.Items {
				if store := &stores.Items[i]; int(store.Status.Modules) >= few {
					found["store "+store.Name] = fmt.Sprint(store.ResourceVersion, " with ", store.Status.Modules, " modules")
				}
			}
			return found
		}
		Eventually(versions).WithContext(ctx).WithPolling(200 * time.Millisecond).Should(And(
			HaveLen(few+many+2), HaveKeyWithValue("store large", HaveSuffix(fmt.Sprint(many, " modules"))),
		))
		before := versions(ctx)
		began := map[*redistest.Server]load{small: loadOf(ctx, small), large: loadOf(ctx, large)}

		perProbe := func(server *redistest.Server) float64 {
			now := loadOf(ctx, server)
			return (now.reads - began[server].reads) / (now.probes - began[server].probes)
		}
		waitForProbes := func(times float64) {
			GinkgoHelper()
			for server := range began {
				probes, was := func() float64 { return loadOf(ctx, server).probes }, loadOf(ctx, server).probes
				Eventually(probes).WithPolling(200 * time.Millisecond).Should(BeNumerically(">", was+times))
			}
		}
		waitForProbes(15)
		Expect(perProbe(large)).To(BeNumerically("<", 5*perProbe(small)), "with %d times as many policies", many/few)
		Expect(versions(ctx)).To(Equal(before))

		By("writing nothing either when it starts and all is in place")
		first.stop()
		on.operate(adminConfig, on.quick(nil))
		waitForProbes(5)
		Expect(versions(ctx)).To(Equal(before))
	})
})

// load is what a server was asked so far.
type load struct {
	// probes of a monitor, which writes the modules of a namespace once in each.
	probes float64
	// reads from connections: one for each pipeline of some kilobytes.
	reads float64
}

func loadOf(ctx context.Context, server *redistest.Server) load {
	GinkgoHelper()
	connection := server.Client()
	defer func() { _ = connection.Close() }()
	info := connection.InfoMap(ctx, "stats", "commandstats")
	Expect(info.Err()).NotTo(HaveOccurred())
	calls, _, _ := strings.Cut(strings.TrimPrefix(info.Item("Commandstats", "cmdstat_sadd"), "calls="), ",")
	probes, errProbes := strconv.ParseFloat(calls, 64)
	reads, errReads := strconv.ParseFloat(info.Item("Stats", "total_reads_processed"), 64)
	Expect(errors.Join(errProbes, errReads)).To(Succeed())
	return load{probes: probes, reads: reads}
}
