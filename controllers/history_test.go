// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/resource"
)

var _ = Describe("The history of CacheInvalidations", func() {
	It("keeps the latest of a namespace", func(ctx SpecContext) {
		on := newStage(ctx)
		on.create(ctx, controllertest.UsersPolicy())
		options := on.quick(on.cache)
		options.InvalidationHistoryLimit = 2
		on.operate(adminConfig, options)

		var latest []string
		for range 5 {
			invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
			on.create(ctx, invalidation)
			Eventually(func(g Gomega, ctx context.Context) {
				err := k8s.Get(ctx, client.ObjectKeyFromObject(invalidation), invalidation)
				g.Expect(client.IgnoreNotFound(err)).To(Succeed())
				g.Expect(err != nil || resource.IsFinished(invalidation)).To(BeTrue())
			}).WithContext(ctx).Should(Succeed())
			latest = append(latest, invalidation.Name)
		}

		Eventually(func(g Gomega, ctx context.Context) {
			list := &v1.CacheInvalidationList{}
			g.Expect(k8s.List(ctx, list, client.InNamespace(on.namespace))).To(Succeed())
			g.Expect(list.Items).To(ConsistOf(HaveField("Name", latest[3]), HaveField("Name", latest[4])))
		}).WithContext(ctx).Should(Succeed())
	})
})
