// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllertest

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// Crowd is a cache of so many policies that it is faster not to look for some of them.
type Crowd struct {
	client.Client
	Policies []v1.CachePolicy
}

// List implements client.Client.
func (c Crowd) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	if policies, ok := list.(*v1.CachePolicyList); ok {
		policies.Items = c.Policies
	}
	return nil
}
