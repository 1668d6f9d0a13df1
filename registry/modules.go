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

// Modules lists the modules of a namespace that have a policy, up to 10,000, sorted, and leaves out what can be no
// module. ErrModulesUnknown: there is
// no such list, which may mean that there are no modules or that Redis evicted it; the operator
// writes it anew.
func (r *Registry) Modules(ctx context.Context, namespace string) ([]string, error) {
	modules, err := r.client.SMembers(ctx, modulesKey(namespace)).Result()
	if err != nil {
		return nil, classified("listing the modules of "+namespace, err)
	}
	if len(modules) > maxModules {
		return nil, fmt.Errorf("listing the modules of %s: %w: it has more than %d", namespace, ErrMisbehaves, maxModules)
	}
	modules = slices.DeleteFunc(modules, func(module string) bool { return !isModuleName(module) })
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
// SlotErrors are of namespaces whose lists could not be written. What is there in place of a list goes.
func (r *Registry) AddAllModules(ctx context.Context, modules map[string][]string) error {
	broken := SlotErrors{}
	named := slices.DeleteFunc(slices.Collect(maps.Keys(modules)), func(namespace string) bool { return len(modules[namespace]) == 0 })
	for namespaces := range slices.Chunk(named, modulesBatch) {
		if err := broken.Take(r.addModulesOf(ctx, namespaces, modules)); err != nil {
			return err
		}
	}
	return broken.OrNil()
}

func (r *Registry) addModulesOf(ctx context.Context, namespaces []string, modules map[string][]string) error {
	replies := make([]*redis.IntCmd, len(namespaces))
	err := unsent(r.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, namespace := range namespaces {
			replies[i] = pipe.SAdd(ctx, modulesKey(namespace), modules[namespace])
		}
		return nil
	}))
	if err != nil {
		return classified("adding modules to many namespaces", err)
	}
	broken := SlotErrors{}
	for i, namespace := range namespaces {
		err := replies[i].Err()
		if isWrongType(err) {
			err = r.replaceList(ctx, namespace, modules[namespace])
		}
		if err != nil {
			broken[Slot{Namespace: namespace}] = classified("adding modules to "+namespace, err)
		}
	}
	return broken.of(len(namespaces))
}

// replaceList puts a list where something else is.
func (r *Registry) replaceList(ctx context.Context, namespace string, modules []string) error {
	_, err := r.client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Del(ctx, modulesKey(namespace))
		pipe.SAdd(ctx, modulesKey(namespace), modules)
		return nil
	})
	return err
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
