// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"
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

// modulesBatch is the number of namespaces whose lists are written in one pipeline.
const modulesBatch = 500

// AddAllModules does what AddModules does for many namespaces, in a round trip for each 500 of them (and node of a cluster).
func (r *Registry) AddAllModules(ctx context.Context, modules map[string][]string) error {
	for namespaces := range slices.Chunk(slices.Collect(maps.Keys(modules)), modulesBatch) {
		_, err := r.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for _, namespace := range namespaces {
				if len(modules[namespace]) > 0 {
					pipe.SAdd(ctx, modulesKey(namespace), modules[namespace])
				}
			}
			return nil
		})
		if err != nil {
			return classified("adding modules to many namespaces", err)
		}
	}
	return nil
}

// JoinModules adds a module to the list of its namespace's modules and says whether it is in it now. It begins no list,
// as one that lacks modules hides them; then, and where others write the list at the same time, name all by AddModules.
// However many modules there are, it costs the same.
func (r *Registry) JoinModules(ctx context.Context, slot Slot) (joined bool, err error) {
	key := modulesKey(slot.Namespace)
	if joined, err = r.client.SIsMember(ctx, key, slot.Module).Result(); err == nil && !joined {
		joined, err = r.joinList(ctx, key, slot.Module)
	}
	if err != nil {
		return false, callError("adding the module to its namespace's list", slot, err)
	}
	return joined, nil
}

// joinList adds to a list that is there; Redis may evict it at any moment, which the transaction notices.
func (r *Registry) joinList(ctx context.Context, key, module string) (joined bool, err error) {
	err = r.client.Watch(ctx, func(tx *redis.Tx) error {
		lists, err := tx.Exists(ctx, key).Result()
		if err != nil || lists == 0 {
			return err
		}
		_, err = tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.SAdd(ctx, key, module)
			return nil
		})
		joined = err == nil
		return err
	}, key)
	if errors.Is(err, redis.TxFailedErr) {
		return false, nil
	}
	return joined, err
}

func (r *Registry) removeModule(ctx context.Context, slot Slot) error {
	if err := r.client.SRem(ctx, modulesKey(slot.Namespace), slot.Module).Err(); err != nil {
		return callError("removing the module from its namespace's list", slot, err)
	}
	return nil
}
