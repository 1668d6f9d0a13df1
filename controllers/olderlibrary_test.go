// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"regexp"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/registry"
)

// olderLibrary is a function library without what came with version 4: no holds, no source lag.
func olderLibrary() string {
	GinkgoHelper()
	older := registry.Library
	for now, before := range map[string]string{
		fmt.Sprintf("local VERSION = %d\n", registry.LibraryVersion): fmt.Sprintf("local VERSION = %d\n", registry.OldestLibrary),
		`register\('cw_(hold|release|unclaimed)',.*\n`:               "",
		`(defaultTtlMs|localTtlMs) = true, sourceLagMs = true,`:      "$1 = true,",
	} {
		Expect(older).To(MatchRegexp(now))
		older = regexp.MustCompile(now).ReplaceAllString(older, before)
	}
	for _, lacks := range []string{"register('cw_hold'", "register('cw_release'", "register('cw_unclaimed'", "sourceLagMs = true"} {
		Expect(older).NotTo(ContainSubstring(lacks))
	}
	return older
}

// An operator that may not load its library works with an older one, and says what that lacks.
var _ = It("A store that keeps an older function library does what that can", func(ctx SpecContext) {
	on, apart := newStage(ctx), newStage(ctx)
	Expect(apart.redis.FunctionLoad(ctx, olderLibrary()).Err()).To(Succeed())
	addOperator(apart.server, "secret")
	apart.server.AddUser("cachewright", "secret", "-function|load")
	on.create(ctx, secret("redis-auth", map[string]string{"username": "cachewright", "password": "secret"}))
	store := controllertest.StoreTo("main", apart.server.Addr())
	store.Spec.CredentialsSecretRef = &v1.SecretReference{Name: "redis-auth"}
	on.create(ctx, store)
	on.operate(adminConfig, on.quick(on.cache))
	on.redis, on.cache = apart.redis, apart.cache

	By("leaving the source lag out")
	policy := controllertest.UsersPolicyIn("main")
	policy.Spec.SourceLag = &metav1.Duration{Duration: time.Minute}
	policy.Spec.Operations[0].SourceLag = &metav1.Duration{Duration: 2 * time.Minute}
	on.create(ctx, policy)
	Eventually(on.policy(ctx, policy.Name)).Should(beReady("True AppliedWithoutSourceLag"))
	Expect(status.Ready(on.policy(ctx, policy.Name)(Default).Status.Conditions).Message).To(And(
		ContainSubstring("without its sourceLag"), ContainSubstring("+function|load")))
	Eventually(on.eventsOf(ctx, policy.Name)).Should(ContainElement("Normal AppliedWithoutSourceLag"))
	Eventually(on.store(ctx, "main")).Should(beReady("True Connected"))
	Expect(on.store(ctx, "main")(Default).Status.LibraryVersion).To(BeEquivalentTo(registry.OldestLibrary))
	inForce, _, err := on.cache.Policy(ctx, on.slot("users"))
	Expect(err).NotTo(HaveOccurred())
	Expect(inForce.SourceLag).To(BeZero())
	Expect(inForce.Operations).NotTo(BeEmpty())

	By("purging without a hold, and not at all where a purge is to hold")
	on.fill(ctx, "users", "list", "", 3)
	inMain := func(target v1.InvalidationTarget) *v1.CacheInvalidation {
		made := controllertest.Invalidation(target)
		made.Spec.StoreRef = &v1.StoreReference{Name: "main"}
		return made
	}
	holding := inMain(v1.InvalidationTarget{Module: "users"})
	holding.Spec.HoldFor = &metav1.Duration{Duration: time.Hour}
	on.create(ctx, holding)
	Eventually(on.invalidation(ctx, holding)).Should(beReady("False LibraryTooOld"))
	refused := current(ctx, holding)
	Expect(refused.Status.State).To(Equal(v1.StatePending))
	Expect(status.Ready(refused.Status.Conditions).Message).To(ContainSubstring("version 3, and holds need 4"))
	Expect(on.cached(ctx, "users", "list", "", 3)).To(Equal(3))
	plain := inMain(v1.InvalidationTarget{Module: "users"})
	on.create(ctx, plain)
	Eventually(on.invalidation(ctx, plain)).Should(beIn(v1.StateComplete))
	Expect(*current(ctx, plain).Status.KeysInvalidated).To(BeEquivalentTo(3))

	By("doing all of it once somebody loads the library")
	Expect(apart.redis.FunctionLoadReplace(ctx, registry.Library).Err()).To(Succeed())
	Eventually(on.policy(ctx, policy.Name)).Should(beReady("True Applied"))
	inForce, _, err = on.cache.Policy(ctx, on.slot("users"))
	Expect(err).NotTo(HaveOccurred())
	Expect(inForce.SourceLag).To(Equal(time.Minute))
	Eventually(on.invalidation(ctx, holding)).Should(beIn(v1.StateHolding))

	By("losing all data under an older one, of which nothing is held")
	Expect(apart.redis.FunctionLoadReplace(ctx, olderLibrary()).Err()).To(Succeed())
	Expect(apart.redis.FlushAll(ctx).Err()).To(Succeed())
	Eventually(on.policy(ctx, policy.Name)).Should(beReady("True AppliedWithoutSourceLag"))
	Eventually(func(g Gomega) {
		_, found, err := on.cache.Policy(ctx, on.slot("users"))
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(found).To(BeTrue())
	}).Should(Succeed())
	Eventually(on.invalidation(ctx, holding)).Should(beReady("False LibraryTooOld"))
})
