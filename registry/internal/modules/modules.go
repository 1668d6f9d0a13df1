// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package modules keeps the lists of the modules of namespaces that have a policy.
package modules

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/bounds"
	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

// Lists are those in one Redis.
type Lists struct{ client redis.UniversalClient }

// New returns the lists of a Redis.
func New(client redis.UniversalClient) *Lists { return &Lists{client: client} }

// ErrUnknown says that there is no list of a namespace.
var ErrUnknown = errors.New("the modules of the namespace are not known")

// maxModules of a namespace.
const maxModules = 10_000

// Of lists the modules of a namespace, sorted. It omits what cannot be a module.
func (l *Lists) Of(ctx context.Context, namespace string) ([]string, error) {
	modules, err := l.client.SMembers(ctx, keyspace.ModulesKey(namespace)).Result()
	if err != nil {
		return nil, fault.Classify("listing the modules of "+namespace, err)
	}
	if len(modules) > maxModules {
		return nil, fmt.Errorf("listing the modules of %s: %w: it has more than %d", namespace,
			fault.ErrMisbehaves, maxModules)
	}
	modules = slices.DeleteFunc(modules, func(module string) bool {
		return !bounds.IsModuleName(module)
	})
	if len(modules) == 0 {
		return nil, fmt.Errorf("%s: %w", namespace, ErrUnknown)
	}
	slices.Sort(modules)
	return modules, nil
}

// Add adds to the list of a namespace.
func (l *Lists) Add(ctx context.Context, namespace string, modules ...string) error {
	err := l.AddAll(ctx, map[string][]string{namespace: modules})
	var ofNamespace sloterr.Errors
	if errors.As(err, &ofNamespace) {
		return sloterr.First(ofNamespace)
	}
	return err
}

// inPipeline is the number of namespaces whose lists are written in one pipeline.
const inPipeline = 500

// AddAll adds modules to the lists of their namespaces. It replaces what is not a list.
func (l *Lists) AddAll(ctx context.Context, modules map[string][]string) error {
	broken := sloterr.Errors{}
	isEmpty := func(namespace string) bool { return len(modules[namespace]) == 0 }
	filled := slices.DeleteFunc(slices.Collect(maps.Keys(modules)), isEmpty)
	for namespaces := range slices.Chunk(filled, inPipeline) {
		if err := broken.Take(l.addTogether(ctx, namespaces, modules)); err != nil {
			return err
		}
	}
	return broken.OrNil()
}

func (l *Lists) addTogether(
	ctx context.Context, namespaces []string, modules map[string][]string,
) error {
	replies := make([]*redis.IntCmd, len(namespaces))
	err := fault.Unsent(l.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, namespace := range namespaces {
			replies[i] = pipe.SAdd(ctx, keyspace.ModulesKey(namespace), modules[namespace])
		}
		return nil
	}))
	if err != nil {
		return fault.Classify("adding modules to many namespaces", err)
	}
	broken := sloterr.Errors{}
	for i, namespace := range namespaces {
		err := replies[i].Err()
		if fault.IsWrongType(err) {
			err = l.replaceList(ctx, namespace, modules[namespace])
		}
		if err != nil {
			broken[keyspace.Slot{Namespace: namespace}] = fault.Classify("adding modules to "+namespace, err)
		}
	}
	return sloterr.OfAll(broken, len(namespaces))
}

// replaceList replaces a key that is not a list.
func (l *Lists) replaceList(ctx context.Context, namespace string, modules []string) error {
	_, err := l.client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Del(ctx, keyspace.ModulesKey(namespace))
		pipe.SAdd(ctx, keyspace.ModulesKey(namespace), modules)
		return nil
	})
	return err
}

// EnsureListed adds a module to the list of its namespace, and all modules where that needs it.
func (l *Lists) EnsureListed(
	ctx context.Context, slot keyspace.Slot, all func() ([]string, error),
) error {
	if joined, err := l.join(ctx, slot); err != nil || joined {
		return err
	}
	modules, err := all()
	if err != nil {
		return err
	}
	return l.Add(ctx, slot.Namespace, append(slices.Clone(modules), slot.Module)...)
}

// join adds a module to the list of its namespace, if there is one. It says whether the list has
// the module now.
func (l *Lists) join(ctx context.Context, slot keyspace.Slot) (joined bool, err error) {
	key := keyspace.ModulesKey(slot.Namespace)
	if joined, err = l.client.SIsMember(ctx, key, slot.Module).Result(); err == nil && !joined {
		joined, err = l.joinList(ctx, key, slot.Module)
	}
	if err != nil {
		return false, sloterr.Call("adding the module to its namespace's list", slot, err)
	}
	return joined, nil
}

// joinList adds to a list if it exists. Redis may evict the list at any moment, which makes the
// transaction fail.
func (l *Lists) joinList(ctx context.Context, key, module string) (joined bool, err error) {
	err = l.client.Watch(ctx, func(tx *redis.Tx) error {
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

// Remove removes a module from the list of its namespace.
func (l *Lists) Remove(ctx context.Context, slot keyspace.Slot) error {
	if err := l.client.SRem(ctx, keyspace.ModulesKey(slot.Namespace), slot.Module).Err(); err != nil {
		return sloterr.Call("removing the module from its namespace's list", slot, err)
	}
	return nil
}
