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

// manyCall is a call about items of any modules. Each has an answer A of its own.
type manyCall[I, A any] struct {
	access  Access
	timeout time.Duration
	// keyOf names the entry that an item is about.
	keyOf func(I) registry.Key
	// do asks Redis about items of one module. Its error is that of all.
	do func(ctx context.Context, items []I) ([]A, error)
	// failure is where an answer has its error.
	failure func(*A) *error
	// before, unless it is nil, says why a module must not be asked.
	before func(module string) error
}

// keyItself is for calls whose items are keys.
func keyItself(key registry.Key) registry.Key { return key }

// callMany makes one call for each module, in parallel, and reports its failures.
func callMany[I, A any](ctx context.Context, g *Gateway, items []I, c manyCall[I, A]) []A {
	if len(items) == 0 {
		return nil
	}
	if c.isOneModule(items) {
		return callModule(ctx, g, items, c)
	}
	modules, answers := c.byModule(items), make([]A, len(items))
	broken := parallel.Each(modules, "a call about several entries", func(positions []int) error {
		part := make([]I, len(positions))
		for i, at := range positions {
			part[i] = items[at]
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

func (c manyCall[I, A]) moduleOf(item I) string { return c.keyOf(item).Module }

func (c manyCall[I, A]) isOneModule(items []I) bool {
	for _, item := range items {
		if c.moduleOf(item) != c.moduleOf(items[0]) {
			return false
		}
	}
	return true
}

// byModule returns the positions of the items of each module.
func (c manyCall[I, A]) byModule(items []I) [][]int {
	var modules [][]int
	known := map[string]int{}
	for at, item := range items {
		module := c.moduleOf(item)
		m, isKnown := known[module]
		if !isKnown {
			m = len(modules)
			known[module] = m
			modules = append(modules, nil)
		}
		modules[m] = append(modules[m], at)
	}
	return modules
}

// callModule makes one call about items of one module.
func callModule[I, A any](
	ctx context.Context, g *Gateway, items []I, c manyCall[I, A],
) (answers []A) {
	err := askModule(ctx, g, c.moduleOf(items[0]), c, func(ctx context.Context) error {
		found, err := c.do(ctx, items)
		if err != nil {
			return err
		}
		answers = found
		return verdict(answers, c.failure)
	})
	if answers == nil {
		answers = make([]A, len(items))
		for i := range answers {
			*c.failure(&answers[i]) = err
		}
	}
	if ctx.Err() == nil {
		c.reportFailures(g, items, answers)
	}
	return answers
}

func askModule[I, A any](
	ctx context.Context, g *Gateway, module string, c manyCall[I, A],
	call func(context.Context) error,
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
func (c manyCall[I, A]) reportFailures(g *Gateway, items []I, answers []A) {
	var reported map[string]bool
	for i, item := range items {
		key := c.keyOf(item)
		if err := *c.failure(&answers[i]); err != nil && !reported[key.Operation] {
			if reported == nil {
				reported = map[string]bool{}
			}
			reported[key.Operation] = true
			g.config.Hooks.Failed(key.Module, key.Operation, err)
		}
	}
}
