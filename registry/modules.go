// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
)

// Modules lists the modules of a namespace that have a policy, up to 10,000, sorted. It omits what
// cannot be a module.
//
// ErrModulesUnknown: there is no list, because there are no modules or because Redis evicted it.
// The operator writes it again.
func (r *Registry) Modules(ctx context.Context, namespace string) ([]string, error) {
	return r.modules.Of(ctx, namespace)
}

// AddModules adds to the list of the modules of a namespace. Name all modules at once if the list
// may have been evicted. An invalidation of a user does not reach a module that the list lacks.
func (r *Registry) AddModules(ctx context.Context, namespace string, modules ...string) error {
	return r.modules.Add(ctx, namespace, modules...)
}

// AddAllModules does what AddModules does for many namespaces, in a round trip per 500 of them (and
// node of a cluster). SlotErrors are of namespaces whose lists could not be written.
func (r *Registry) AddAllModules(ctx context.Context, modules map[string][]string) error {
	return r.modules.AddAll(ctx, modules)
}

// EnsureListed makes the list of the modules of a namespace have one module. It adds that to a list
// that exists, at a cost that does not depend on the number of modules. It does not begin a list
// with that module alone, because that would lack the others. Where there is no list, or others
// write it at the same time, it adds what all returns: all modules of the namespace.
func (r *Registry) EnsureListed(
	ctx context.Context, slot Slot, all func() (modules []string, err error),
) error {
	return r.modules.EnsureListed(ctx, slot, all)
}
