// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachepolicy

import (
	"testing"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/resource"
)

func TestAFinalizerThatAnotherAddedMeanwhileIsNotTakenAway(t *testing.T) {
	g := NewWithT(t)
	policy := controllertest.UsersPolicy()
	policy.Namespace, policy.Finalizers = "shop", []string{v1.CachePolicyFinalizer}
	cluster := controllertest.FakeCluster(t, policy)
	read := &v1.CachePolicy{}
	g.Expect(cluster.Get(t.Context(), client.ObjectKeyFromObject(policy), read)).To(Succeed())
	patch := resource.NewPatcher(cluster, read)

	others := read.DeepCopy()
	others.Finalizers = append(others.Finalizers, "example.com/keep")
	g.Expect(cluster.Update(t.Context(), others)).To(Succeed())

	g.Expect(apierrors.IsConflict(patch.Finalizer(t.Context(), read, v1.CachePolicyFinalizer, false))).To(BeTrue())
	g.Expect(cluster.Get(t.Context(), client.ObjectKeyFromObject(policy), read)).To(Succeed())
	g.Expect(read.Finalizers).To(ConsistOf(v1.CachePolicyFinalizer, "example.com/keep"))
}
