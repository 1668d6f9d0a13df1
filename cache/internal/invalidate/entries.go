// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package invalidate

import (
	"context"
	"fmt"

	"github.com/cachewright/cachewright/cache/internal/outbox"
	"github.com/cachewright/cachewright/registry"
)

// Entries invalidates entries, with one pipeline for each module. It returns an error, or nil, for
// each.
func (i *Invalidator) Entries(ctx context.Context, entries []registry.Key) []error {
	failed := make([]error, len(entries))
	within, done := i.startAll(ctx, entries)
	defer func() {
		for n, done := range done {
			done(failed[n])
		}
	}()
	var sent []registry.Key
	var at []int
	for n, entry := range entries {
		failed[n] = i.coalesce(entry.Module, scopeOf(entry), registry.ModeHard)
		if failed[n] == nil {
			sent, at = append(sent, entry), append(at, n)
		}
	}
	for k, err := range i.config.Gateway.RemoveMany(within, i.config.Timeout, sent) {
		failed[at[k]] = i.enqueue(err, sent[k].Module, scopeOf(sent[k]), registry.ModeHard)
	}
	return failed
}

// startAll tells that each invalidation begins. The context to go on with is that of the first.
func (i *Invalidator) startAll(
	ctx context.Context, entries []registry.Key,
) (first context.Context, done []func(error)) {
	first, done = ctx, make([]func(error), len(entries))
	for n := range entries {
		started, end := i.start(ctx, ofEntry(entries[n]))
		if done[n] = end; n == 0 {
			first = started //nolint:fatcontext // once
		}
	}
	return first, done
}

func ofEntry(entry registry.Key) Invalidation {
	return Invalidation{
		Module: entry.Module,
		Scope:  registry.Scope{Operation: entry.Operation, User: entry.User}, ID: entry.ID,
		Mode: registry.ModeHard,
	}
}

func scopeOf(entry registry.Key) outbox.Scope {
	return outbox.Scope{Operation: entry.Operation, User: entry.User, ID: entry.ID}
}

// Summary joins the errors of many invalidations, nil if there are none.
func Summary(failed []error) error {
	var s summary
	for _, err := range failed {
		if err != nil {
			s = append(s, err)
		}
	}
	switch len(s) {
	case 0:
		return nil
	case 1:
		return s[0]
	default:
		return s
	}
}

// summary is several errors. The message shows one.
type summary []error

func (s summary) Error() string { return fmt.Sprintf("%v (and %d others)", s[0], len(s)-1) }

func (s summary) Unwrap() []error { return s }
