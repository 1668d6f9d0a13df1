// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package statistics reads the statistics of modules, and sends the counts of this process.
package statistics

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/cachewright/cachewright/cache/internal/catalog"
	"github.com/cachewright/cachewright/cache/internal/failure"
	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/invalidate"
	"github.com/cachewright/cachewright/cache/internal/report"
	"github.com/cachewright/cachewright/registry"
)

// Statistics are those of the modules of a namespace. All fields are needed.
type Statistics struct {
	Gateway  *gateway.Gateway
	Reports  *report.Reporter
	Modules  *catalog.Modules
	Failures *failure.Reports
}

// Module is the statistics of a module.
type Module struct {
	Name string
	Keys int64
	// Operations are sorted by name.
	Operations []Operation
}

// Operation is the statistics of an operation.
type Operation struct {
	registry.OperationStats

	Name string
}

// Of returns the statistics of the given modules, or of all if there are none. It sends the counts
// of this process first.
func (s *Statistics) Of(ctx context.Context, modules []string) ([]Module, error) {
	_ = s.Reports.Flush(ctx) // what fails comes later, as the counts of other processes do
	if len(modules) == 0 {
		var err error
		if modules, err = s.Modules.All(ctx); err != nil {
			return nil, err
		}
	}
	all := make([]Module, 0, len(modules))
	for _, name := range slices.Compact(slices.Sorted(slices.Values(modules))) {
		module, err := s.of(ctx, name)
		if err != nil {
			return nil, err
		}
		all = append(all, module)
	}
	return all, nil
}

func (s *Statistics) of(ctx context.Context, name string) (Module, error) {
	if name == "" {
		return Module{}, invalidate.ErrNoModule
	}
	found, err := s.Gateway.Stats(ctx, name)
	if err != nil {
		s.Failures.Add(name, "", err)
		return Module{}, err
	}
	module := Module{Name: name, Keys: found.Keys}
	for operation, stats := range found.Operations {
		module.Operations = append(module.Operations, Operation{stats, operation})
	}
	slices.SortFunc(module.Operations, func(a, b Operation) int { return cmp.Compare(a.Name, b.Name) })
	return module, nil
}

// Send is how the reporter reaches Redis. It drops counts that Redis rejects.
func (s *Statistics) Send(
	ctx context.Context, module, operation string, counters registry.Counters,
) error {
	err := s.Gateway.Report(ctx, module, operation, counters)
	if err != nil {
		s.Failures.ReportContained(module, operation, err)
	}
	if errors.Is(err, registry.ErrRejected) {
		return nil
	}
	return err
}
