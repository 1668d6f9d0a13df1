// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"slices"
)

// Modules lists the modules of a namespace that have a policy, sorted. ErrModulesUnknown: there is
// no such list, which may mean that there are no modules or that Redis evicted it; the operator
// writes it anew.
func (r *Registry) Modules(ctx context.Context, namespace string) ([]string, error) {
	modules, err := r.client.SMembers(ctx, modulesKey(namespace)).Result()
	if err != nil {
		return nil, classified("listing the modules of "+namespace, err)
	}
	if len(modules) == 0 {
		return nil, fmt.Errorf("%s: %w", namespace, ErrModulesUnknown)
	}
	slices.Sort(modules)
	return modules, nil
}

// AddModules adds to the list of a namespace's modules. Name all of them at once where the list may
// have been evicted: a list that lacks one would hide it from an invalidation of a user.
func (r *Registry) AddModules(ctx context.Context, namespace string, modules ...string) error {
	if len(modules) == 0 {
		return nil
	}
	members := make([]any, len(modules))
	for i, module := range modules {
		members[i] = module
	}
	if err := r.client.SAdd(ctx, modulesKey(namespace), members...).Err(); err != nil {
		return classified("adding modules to "+namespace, err)
	}
	return nil
}

func (r *Registry) removeModule(ctx context.Context, slot Slot) error {
	if err := r.client.SRem(ctx, modulesKey(slot.Namespace), slot.Module).Err(); err != nil {
		return callError("removing the module from its namespace's list", slot, err)
	}
	return nil
}
