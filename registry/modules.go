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

	"github.com/cachewright/cachewright/registry/internal/fault"
)

// Modules lists the modules of a namespace that have a policy, up to 10,000, sorted. It omits what
// cannot be a module.
// ErrModulesUnknown: there is no list, because there are no modules or because Redis evicted it.
// The operator writes it again.
func (r *Registry) Modules(ctx context.Context, namespace string) ([]string, error) {
	modules, err := r.client.SMembers(ctx, modulesKey(namespace)).Result()
	if err != nil {
		return nil, fault.Classify("listing the modules of "+namespace, err)
	}
	if len(modules) > maxModules {
		return nil, fmt.Errorf("listing the modules of %s: %w: it has more than %d", namespace,
			ErrMisbehaves, maxModules)
	}
	modules = slices.DeleteFunc(modules, func(module string) bool { return !isModuleName(module) })
	if len(modules) == 0 {
		return nil, fmt.Errorf("%s: %w", namespace, ErrModulesUnknown)
	}
	slices.Sort(modules)
	return modules, nil
}

// AddModules adds to the list of the modules of a namespace. Name all modules at once if the list
// may have been evicted.
// An invalidation of a user does not reach a module that the list lacks.
func (r *Registry) AddModules(ctx context.Context, namespace string, modules ...string) error {
	err := r.ensureListed(ctx, map[string][]string{namespace: modules})
	var ofNamespace SlotErrors
	if errors.As(err, &ofNamespace) {
		return ofNamespace.first()
	}
	return err
}

// modulesBatch is the number of namespaces whose lists are written in one pipeline.
const modulesBatch = 500

// AddAllModules does what AddModules does for many namespaces, in a round trip per 500 of them (and
// node of a cluster).
// SlotErrors are of namespaces whose lists could not be written.
func (r *Registry) AddAllModules(ctx context.Context, modules map[string][]string) error {
	return r.ensureListed(ctx, modules)
}

// ensureListed adds modules to the lists of their namespaces. It replaces what is not a list.
func (r *Registry) ensureListed(ctx context.Context, modules map[string][]string) error {
	broken := SlotErrors{}
	isEmpty := func(namespace string) bool { return len(modules[namespace]) == 0 }
	filled := slices.DeleteFunc(slices.Collect(maps.Keys(modules)), isEmpty)
	for namespaces := range slices.Chunk(filled, modulesBatch) {
		if err := broken.Take(r.addModulesOf(ctx, namespaces, modules)); err != nil {
			return err
		}
	}
	return broken.OrNil()
}

func (r *Registry) addModulesOf(
	ctx context.Context, namespaces []string, modules map[string][]string,
) error {
	replies := make([]*redis.IntCmd, len(namespaces))
	err := fault.Unsent(r.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, namespace := range namespaces {
			replies[i] = pipe.SAdd(ctx, modulesKey(namespace), modules[namespace])
		}
		return nil
	}))
	if err != nil {
		return fault.Classify("adding modules to many namespaces", err)
	}
	broken := SlotErrors{}
	for i, namespace := range namespaces {
		err := replies[i].Err()
		if fault.IsWrongType(err) {
			err = r.replaceList(ctx, namespace, modules[namespace])
		}
		if err != nil {
			broken[Slot{Namespace: namespace}] = fault.Classify("adding modules to "+namespace, err)
		}
	}
	return broken.of(len(namespaces))
}

// replaceList replaces a key that is not a list.
func (r *Registry) replaceList(ctx context.Context, namespace string, modules []string) error {
	_, err := r.client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Del(ctx, modulesKey(namespace))
		pipe.SAdd(ctx, modulesKey(namespace), modules)
		return nil
	})
	return err
}

// JoinModules adds a module to the list of the modules of its namespace, and says whether the list
// has it now. It does not create a list, because that would lack the other modules. If it returns
// false, because there is no list or because others write it at the same time, name all modules
// with AddModules. Its cost does not depend on the number of modules.
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

// joinList adds to a list if it exists. Redis may evict the list at any moment, which makes the
// transaction fail.
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
