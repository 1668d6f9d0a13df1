// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/registry"
)

var _ = Describe("Names that no policy lists", func() {
	var on *stage

	BeforeEach(func(ctx SpecContext) { on = newStage(ctx) })

	report := func(ctx context.Context, namespace string, names ...registry.Unclaimed) {
		GinkgoHelper()
		Expect(on.cache.ReportUnclaimed(ctx, namespace, names)).To(Succeed())
	}
	names := func(ctx context.Context) func(Gomega) []string {
		return func(g Gomega) []string {
			status := on.store(ctx, "main")(g).Status
			g.Expect(status.Unclaimed).To(BeEquivalentTo(len(status.UnclaimedNames)))
			return status.UnclaimedNames
		}
	}
	// begin runs an operator with a CacheStore that has a policy.
	begin := func(ctx context.Context, credentials *v1.SecretReference) *operator {
		GinkgoHelper()
		options := on.quick(nil)
		options.StoreAddress = ""
		operator := on.operate(adminConfig, options)
		store := controllertest.StoreTo("main", on.server.Addr())
		store.Spec.CredentialsSecretRef = credentials
		on.create(ctx, store)
		policy := controllertest.UsersPolicyIn("main")
		policy.Spec.DefaultTTL = nil
		policy.Spec.Operations = []v1.OperationPolicy{{Name: "list", TTL: metav1.Duration{Duration: time.Minute}}}
		on.create(ctx, policy)
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		return operator
	}

	It("are in the status of the store until a policy lists them", func(ctx SpecContext) {
		operator := begin(ctx, nil)
		report(ctx, on.namespace, registry.Unclaimed{Module: "user", Reads: 1}, registry.Unclaimed{Module: "users", Operation: "lst", Reads: 1},
			registry.Unclaimed{Module: "users", Operation: "list", Reads: 1}, registry.Unclaimed{Module: "users", Reads: 1})
		report(ctx, "another-"+on.namespace, registry.Unclaimed{Module: "secret", Reads: 1})
		Eventually(names(ctx)).Should(Equal([]string{"user", "users/lst"}))
		Expect(operator.series("cachewright_unclaimed_names", "")).To(Equal("2"))

		late := controllertest.UsersPolicyIn("main")
		late.Name, late.Spec.Module = "late", "user"
		on.create(ctx, late)
		Eventually(names(ctx)).Should(Equal([]string{"users/lst"}))
		on.retune(ctx, "users")
		Eventually(names(ctx)).Should(BeEmpty())
		Eventually(func() string { return operator.series("cachewright_unclaimed_names", "") }).Should(BeEmpty())
	})

	It("are left out where the ACL of the store's user forbids to read them", func(ctx SpecContext) {
		addOperator(on.server, "old")
		on.server.ApplyACL([]string{"ACL SETUSER cachewright resetkeys ~cw:{" + on.namespace + "/* ~cw:{" + on.namespace + "}:modules"})
		on.create(ctx, secret("redis-auth", map[string]string{"username": "cachewright", "password": "old"}))
		operator := begin(ctx, &v1.SecretReference{Name: "redis-auth"})
		report(ctx, on.namespace, registry.Unclaimed{Module: "user", Reads: 1})
		Eventually(operator.logs.String).Should(ContainSubstring("Reading names without a CachePolicy from Redis failed"))
		on.fill(ctx, "users", "list", "", 3)
		Eventually(func(g Gomega) int64 { return on.store(ctx, "main")(g).Status.Keys }).Should(BeEquivalentTo(3), "other statistics are read")
		Expect(on.store(ctx, "main")(Default)).To(beReady("True Connected"))
		Expect(names(ctx)(Default)).To(BeEmpty())
	})

	It("are only counted in the operator's own Redis", func(ctx SpecContext) {
		operator := on.operate(adminConfig, on.quick(on.cache))
		on.create(ctx, controllertest.UsersPolicy())
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		report(ctx, on.namespace, registry.Unclaimed{Module: "user", Reads: 1}, registry.Unclaimed{Module: "usr", Reads: 1})
		report(ctx, "another-"+on.namespace, registry.Unclaimed{Module: "secret", Reads: 1})
		Eventually(func() string { return operator.series("cachewright_unclaimed_names", "") }).Should(Equal("2"))
	})
})
