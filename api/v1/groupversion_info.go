// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1 holds the resources of the cachewright.io/v1 API:
//
//   - CachePolicy, the cache policy of one module
//   - CacheInvalidation, the request to purge part of a cache
//   - CacheStore, a Redis that both may name
//
// +kubebuilder:object:generate=true
// +groupName=cachewright.io
package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the API group and version of the types in this package.
var GroupVersion = schema.GroupVersion{Group: "cachewright.io", Version: "v1"}

var (
	schemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme adds the types of this package to a scheme.
	AddToScheme = schemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&CachePolicy{}, &CachePolicyList{},
		&CacheInvalidation{}, &CacheInvalidationList{},
		&CacheStore{}, &CacheStoreList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
