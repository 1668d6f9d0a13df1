// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// referenceVersion is the group of the reference's own kind, a CacheInvalidation under another
// name. Both kinds cost the API server the same, and neither controller sees the other's objects.
var referenceVersion = schema.GroupVersion{Group: "reference.cachewright.io", Version: "v1"}

// referenceWorkers equals the operator's number of workers for invalidations.
const referenceWorkers = 8

func referenceScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	scheme.AddKnownTypes(referenceVersion, &v1.CacheInvalidation{}, &v1.CacheInvalidationList{})
	metav1.AddToGroupVersion(scheme, referenceVersion)
	return scheme
}

// referenceCRD returns the CRD of CacheInvalidation under the other name.
func referenceCRD(
	crds []*apiextensionsv1.CustomResourceDefinition,
) (*apiextensionsv1.CustomResourceDefinition, error) {
	for _, crd := range crds {
		if crd.Spec.Names.Kind != "CacheInvalidation" {
			continue
		}
		crd = crd.DeepCopy()
		crd.ObjectMeta = metav1.ObjectMeta{Name: crd.Spec.Names.Plural + "." + referenceVersion.Group}
		crd.Spec.Group = referenceVersion.Group
		crd.Spec.Names.ShortNames, crd.Spec.Names.Categories = nil, nil
		crd.Status = apiextensionsv1.CustomResourceDefinitionStatus{}
		return crd, nil
	}
	return nil, fmt.Errorf("no CRD of CacheInvalidation among %d", len(crds))
}

// runReference is the least that a controller can do: it watches for new objects and patches one
// field of their status.
func runReference(ctx context.Context, kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1 // as for the operator
	mgr, err := manager.New(config, manager.Options{
		Scheme:  referenceScheme(),
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache:   cache.Options{DefaultTransform: cache.TransformStripManagedFields()},
	})
	if err != nil {
		return err
	}
	err = builder.ControllerManagedBy(mgr).
		For(&v1.CacheInvalidation{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: referenceWorkers}).
		Complete(reconcile.Func(func(ctx context.Context, request reconcile.Request) (reconcile.Result,
			error,
		) {
			return reconcile.Result{}, complete(ctx, mgr.GetClient(), request.NamespacedName)
		}))
	if err != nil {
		return err
	}
	return mgr.Start(ctx)
}

func complete(ctx context.Context, c client.Client, key client.ObjectKey) error {
	object := &v1.CacheInvalidation{}
	if err := c.Get(ctx, key, object); err != nil || object.Status.State == v1.StateComplete {
		return client.IgnoreNotFound(err)
	}
	patch := client.MergeFrom(object.DeepCopy())
	object.Status.State = v1.StateComplete
	return client.IgnoreNotFound(c.Status().Patch(ctx, object, patch))
}
