// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"

	"github.com/cachewright/cachewright/cache/internal/entries"
	"github.com/cachewright/cachewright/cache/internal/source"
)

// observedMany shows a FetchMany to an observer, nil if there is none: each key is a request.
type observedMany struct {
	observer Observer
	ctx      context.Context //nolint:containedctx // of the first request, whose loads these are
	keys     []Key
	done     []func(Outcome, error)
	answers  []entries.Answer // nil: the loader panicked
}

func observeMany(ctx context.Context, observer Observer, keys []Key) *observedMany {
	o := &observedMany{observer: observer, ctx: ctx, keys: keys}
	if observer == nil {
		return o
	}
	o.done = make([]func(Outcome, error), len(keys))
	for i, key := range keys {
		request := Request{Verb: VerbFetchMany, Module: key.Module, Operation: key.Operation}
		within, done := observer.StartRequest(ctx, request)
		if o.done[i] = done; i == 0 {
			o.ctx = within //nolint:fatcontext // once
		}
	}
	return o
}

// end ends the requests.
func (o *observedMany) end() {
	for i, done := range o.done {
		answer := entries.Answer{Outcome: entries.Miss, Err: errNoReturn}
		if o.answers != nil {
			answer = o.answers[i]
		}
		done(Outcome(answer.Outcome), answer.Err)
	}
}

// loader returns a loader whose calls the observer sees, one for each operation.
func (o *observedMany) loader(load source.Many) source.Many {
	if o.observer == nil {
		return load
	}
	return func(ctx context.Context, at []int) (loaded []Loaded) {
		returned := false
		operations := o.byOperation(at)
		ctx, done := o.startLoads(ctx, operations)
		defer func() {
			for operation, done := range done {
				if returned {
					done(failureOf(loaded, operations[operation]))
				} else {
					done(errNoReturn)
				}
			}
		}()
		loaded = load.Load(ctx, at)
		returned = true
		return loaded
	}
}

// startLoads tells that a loader begins, for each of the operations.
func (o *observedMany) startLoads(
	ctx context.Context, operations map[Operation][]int,
) (context.Context, map[Operation]func(error)) {
	done := make(map[Operation]func(error), len(operations))
	for of := range operations {
		ctx, done[of] = o.observer.StartLoad(ctx, of.Module, of.Name) //nolint:fatcontext // few
	}
	return ctx, done
}

// byOperation returns the indices in at of the keys of each operation.
func (o *observedMany) byOperation(at []int) map[Operation][]int {
	all := map[Operation][]int{}
	for i, position := range at {
		of := Operation{Module: o.keys[position].Module, Name: o.keys[position].Operation}
		all[of] = append(all[of], i)
	}
	return all
}

// failureOf returns an error of what was loaded. That the source has nothing is none.
func failureOf(loaded []Loaded, positions []int) error {
	for _, i := range positions {
		if err := loaded[i].Err; err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}
