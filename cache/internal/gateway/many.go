// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/cachewright/cachewright/cache/internal/parallel"
	"github.com/cachewright/cachewright/registry"
)

// manyCall is a call about entries of any modules. Each entry has an answer A of its own.
type manyCall[A any] struct {
	access  Access
	timeout time.Duration
	// do asks Redis about entries of one module. Its error is that of all.
	do func(ctx context.Context, keys []registry.Key) ([]A, error)
	// failure is where an answer has its error.
	failure func(*A) *error
	// before, unless it is nil, says why a module must not be asked.
	before func(module string) error
}

// callMany makes one call for each module, in parallel, and reports its failures.
func callMany[A any](
	ctx context.Context, g *Gateway, keys []registry.Key, c manyCall[A],
) []A {
	if len(keys) == 0 {
		return nil
	}
	modules := byModule(keys)
	if len(modules) == 1 {
		return callModule(ctx, g, keys, c)
	}
	answers := make([]A, len(keys))
	broken := parallel.Each(modules, "a call about several entries", func(positions []int) error {
		part := make([]registry.Key, len(positions))
		for i, at := range positions {
			part[i] = keys[at]
		}
		for i, answer := range callModule(ctx, g, part, c) {
			answers[positions[i]] = answer
		}
		return nil
	})
	for m, err := range broken {
		for _, at := range modules[m] {
			if err != nil {
				*c.failure(&answers[at]) = err
			}
		}
	}
	return answers
}

// byModule returns the positions of the entries of each module.
func byModule(keys []registry.Key) [][]int {
	if sameModule(keys) {
		return make([][]int, 1)
	}
	var modules [][]int
	known := map[string]int{}
	for at, key := range keys {
		m, isKnown := known[key.Module]
		if !isKnown {
			m = len(modules)
			known[key.Module] = m
			modules = append(modules, nil)
		}
		modules[m] = append(modules[m], at)
	}
	return modules
}

func sameModule(keys []registry.Key) bool {
	for _, key := range keys {
		if key.Module != keys[0].Module {
			return false
		}
	}
	return true
}

// callModule makes one call about entries of one module.
func callModule[A any](
	ctx context.Context, g *Gateway, keys []registry.Key, c manyCall[A],
) (answers []A) {
	err := askModule(ctx, g, keys[0].Module, c, func(ctx context.Context) error {
		found, err := c.do(ctx, keys)
		if err != nil {
			return err
		}
		answers = found
		return verdict(answers, c.failure)
	})
	if answers == nil {
		answers = make([]A, len(keys))
		for i := range answers {
			*c.failure(&answers[i]) = err
		}
	}
	if ctx.Err() == nil {
		g.reportFailures(keys, func(i int) error { return *c.failure(&answers[i]) })
	}
	return answers
}

func askModule[A any](
	ctx context.Context, g *Gateway, module string, c manyCall[A], call func(context.Context) error,
) error {
	if c.before != nil {
		if err := c.before(module); err != nil {
			return err
		}
	}
	return g.doWithin(ctx, c.timeout, use{module, c.access}, call)
}

// verdict returns the error that says most about Redis. That one entry was rejected says nothing,
// nor that the library is too old: its user may not be allowed to replace it.
func verdict[A any](answers []A, failure func(*A) *error) (worst error) {
	for i := range answers {
		err := *failure(&answers[i])
		if errors.Is(err, registry.ErrLibraryTooOld) {
			continue
		}
		if worst == nil || err != nil && errors.Is(worst, registry.ErrRejected) {
			worst = err
		}
	}
	return worst
}

// reportFailures reports one failure for each operation: it was one call.
func (g *Gateway) reportFailures(keys []registry.Key, failure func(int) error) {
	var reported map[string]bool
	for i, key := range keys {
		if err := failure(i); err != nil && !reported[key.Operation] {
			if reported == nil {
				reported = map[string]bool{}
			}
			reported[key.Operation] = true
			g.config.Hooks.Failed(key.Module, key.Operation, err)
		}
	}
}
