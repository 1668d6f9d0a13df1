// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cachewright/cachewright/cache"
)

var errEmptyName = errors.New("cachetest: the module, operation or user is empty; name one")

// InvalidateModule implements cache.Cache.
func (f *Fake) InvalidateModule(_ context.Context, module string) error {
	failure := f.record(Call{Method: "InvalidateModule", Module: module})
	return f.invalidate(failure, f.epochs, scope{module: module}, module)
}

// InvalidateOperation implements cache.Cache.
func (f *Fake) InvalidateOperation(_ context.Context, module, operation string) error {
	failure := f.record(Call{Method: "InvalidateOperation", Module: module, Operation: operation})
	return f.invalidate(failure, f.epochs, scope{module: module, operation: operation}, module,
		operation)
}

// InvalidateUser implements cache.Cache. Without modules it covers those that the Fake knows.
func (f *Fake) InvalidateUser(_ context.Context, user string, modules ...string) error {
	failure := f.record(Call{Method: "InvalidateUser", User: user, Modules: slices.Clone(modules)})
	return f.invalidateUser(failure, f.epochs, user, modules)
}

// InvalidateSoftly implements cache.Cache.
func (f *Fake) InvalidateSoftly(_ context.Context, s cache.Scope) error {
	failure := f.record(
		Call{Method: "InvalidateSoftly", Module: s.Module, Operation: s.Operation, User: s.User})
	if s.Module == "" && s.Operation == "" {
		return f.invalidateUser(failure, f.softEpochs, s.User, nil)
	}
	return f.invalidate(failure, f.softEpochs,
		scope{module: s.Module, operation: s.Operation, user: s.User}, s.Module)
}

func (f *Fake) invalidateUser(
	failure error, epochs map[scope]int, user string, modules []string,
) error {
	if user == "" {
		return errEmptyName
	}
	if len(modules) == 0 {
		modules = f.allModules()
	}
	var failures []error
	for _, module := range modules {
		failures = append(failures,
			f.invalidate(failure, epochs, scope{module: module, user: user}, module))
	}
	return errors.Join(failures...)
}

func (f *Fake) invalidate(failure error, epochs map[scope]int, s scope, names ...string) error {
	if slices.Contains(names, "") {
		return errEmptyName
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	epochs[s]++
	return queued(failure)
}

// queued returns the error of an invalidation while the Fake fails. It has taken effect before that
// ends.
func queued(failure error) error {
	if failure == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", cache.ErrQueued, failure)
}

func (f *Fake) allModules() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.modules))
}

// TTL implements cache.Cache.
func (f *Fake) TTL(_ context.Context, module, operation string) (time.Duration, error) {
	if failure := f.record(Call{Method: "TTL", Module: module, Operation: operation}); failure != nil {
		return 0, failure
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rule(module, operation).TTL, nil
}

// Stats implements cache.Cache.
func (f *Fake) Stats(_ context.Context, modules ...string) ([]cache.ModuleStats, error) {
	if failure := f.record(Call{Method: "Stats", Modules: slices.Clone(modules)}); failure != nil {
		return nil, failure
	}
	if len(modules) == 0 {
		modules = f.allModules()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]cache.ModuleStats, 0, len(modules))
	for _, module := range slices.Compact(slices.Sorted(slices.Values(modules))) {
		if module == "" {
			return nil, errEmptyName
		}
		all = append(all, f.moduleStats(module))
	}
	return all, nil
}

// moduleStats requires f.mu.
func (f *Fake) moduleStats(module string) cache.ModuleStats {
	byName := map[string]cache.OperationStats{}
	for _, o := range f.policies[module].Operations {
		byName[o.Name] = cache.OperationStats{TTL: o.TTL}
	}
	for key, c := range f.counts {
		if key.module == module {
			byName[key.operation] = cache.OperationStats{
				TTL: f.rule(module, key.operation).TTL, Hits: c.hits, Stale: c.stale, Misses: c.misses,
				HeldReads: c.heldReads, Errors: c.errors,
			}
		}
	}
	stats := cache.ModuleStats{Module: module}
	for key := range f.entries {
		if _, _, live := f.live(key); live && key.module == module {
			o := byName[key.operation]
			o.Keys++
			byName[key.operation] = o
			stats.Keys++
		}
	}
	for operation, o := range byName {
		o.Operation = operation
		o.Held = max(f.heldFor(scope{module: module}),
			f.heldFor(scope{module: module, operation: operation}))
		stats.Operations = append(stats.Operations, o)
	}
	slices.SortFunc(stats.Operations, func(a, b cache.OperationStats) int {
		return cmp.Compare(a.Operation, b.Operation)
	})
	return stats
}
