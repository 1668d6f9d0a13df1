// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"slices"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// Lists reports whether a policy lists a name of its module that applications use. A default TTL
// covers every operation; one of 0s says that others are not cached on purpose.
func Lists(spec *v1.CachePolicySpec, name registry.Unclaimed) bool {
	return name.Operation == "" || spec.DefaultTTL != nil ||
		slices.ContainsFunc(spec.Operations, func(operation v1.OperationPolicy) bool {
			return operation.Name == name.Operation
		})
}

// UnclaimedName returns a name that no policy lists as a status shows it.
func UnclaimedName(name registry.Unclaimed) string {
	if name.Operation == "" {
		return name.Module
	}
	return name.Module + "/" + name.Operation
}
