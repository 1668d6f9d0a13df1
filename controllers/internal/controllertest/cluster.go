// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllertest

import (
	"context"
	"errors"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/resource"
)

// RuntimeScheme returns a scheme with our kinds and the core ones.
func RuntimeScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	if err := errors.Join(v1.AddToScheme(s), corev1.AddToScheme(s)); err != nil {
		t.Fatal(err)
	}
	return s
}

// WaitFor waits for a condition outside of ginkgo.
func WaitFor(t *testing.T, otherwise string, condition func() bool) {
	t.Helper()
	NewWithT(t).Eventually(condition, Timeout).Should(BeTrue(), otherwise)
}

// FakeCache has objects, and is indexed as the manager's cache is.
func FakeCache(t *testing.T, objects ...client.Object) client.WithWatch {
	t.Helper()
	return FakeCacheBuilder(t, objects...).Build()
}

// FakeCacheBuilder returns a builder of a FakeCache.
func FakeCacheBuilder(t *testing.T, objects ...client.Object) *fake.ClientBuilder {
	t.Helper()
	builder := fake.NewClientBuilder().WithScheme(RuntimeScheme(t)).WithObjects(objects...)
	if err := resource.IndexFields(indexerOf(func(o client.Object, field string,
		values client.IndexerFunc,
	) {
		builder = builder.WithIndex(o, field, values)
	})); err != nil {
		t.Fatal(err)
	}
	return builder
}

type indexerOf func(o client.Object, field string, values client.IndexerFunc)

// IndexField implements calls.Store.
func (f indexerOf) IndexField(
	_ context.Context, o client.Object, field string, values client.IndexerFunc,
) error {
	f(o, field, values)
	return nil
}

// FakeCluster is FakeCache, and has resources with a status of their own.
func FakeCluster(t *testing.T, objects ...client.Object) client.Client {
	t.Helper()
	return FakeCacheBuilder(t, objects...).WithStatusSubresource(&v1.CachePolicy{},
		&v1.CacheInvalidation{}, &v1.CacheStore{}).Build()
}
