// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package unclaimed reports and reads the names that applications use and no policy lists.
package unclaimed

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/bounds"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/library"
	"github.com/cachewright/cachewright/registry/internal/parse"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

const (
	function = "cw_unclaimed"
	// inPipeline is the number of namespaces in one pipeline, during which other clients wait.
	inPipeline = 20
)

// Names are those in one Redis.
type Names struct{ library *library.Library }

// New returns the names in a Redis.
func New(lib *library.Library) *Names { return &Names{library: lib} }

// Report adds to the counts of names. It omits those that no policy could list, and all beyond the
// first MaxNames.
func (n *Names) Report(ctx context.Context, namespace string, names []parse.Unclaimed) error {
	args := make([]any, 0, 4*min(len(names), parse.MaxUnclaimed))
	for _, name := range names {
		if len(args) < 4*parse.MaxUnclaimed && bounds.CanBeListed(name.Module, name.Operation) {
			args = append(args, name.Module, name.Operation,
				clamp(name.Reads), clamp(name.Invalidations))
		}
	}
	if len(args) == 0 {
		return nil
	}
	_, err := n.call(ctx, namespace, args)
	return err
}

// clamp returns a count as the library takes it.
func clamp(count int64) int64 {
	const maximum = 999_999_999_999_999
	return max(0, min(count, maximum))
}

func (n *Names) call(ctx context.Context, namespace string, args []any) (reply any, err error) {
	slot := keyspace.Slot{Namespace: namespace}
	err = n.library.With(ctx, func() error {
		reply, err = n.library.Client().FCall(ctx, function, keysOf(namespace), args...).Result()
		return sloterr.Failure(function, slot, err)
	})
	return reply, err
}

func keysOf(namespace string) []string { return []string{keyspace.UnclaimedKey(namespace)} }

// Of returns the names of namespaces, in their order; nil: all failed for the same reason. The
// errors are of slots without a module.
func (n *Names) Of(ctx context.Context, namespaces []string) ([][]parse.Unclaimed, error) {
	slots := make([]keyspace.Slot, len(namespaces))
	for i, namespace := range namespaces {
		slots[i].Namespace = namespace
	}
	all := make([][]parse.Unclaimed, len(namespaces))
	err := library.Calls[keyspace.Slot]{
		Function: function, Items: slots, InPipeline: inPipeline,
		Send: func(pipe redis.Pipeliner, slot keyspace.Slot) *redis.Cmd {
			return pipe.FCall(ctx, function, keysOf(slot.Namespace))
		},
		Receive: func(i int, reply *redis.Cmd) (err error) {
			all[i], err = parse.UnclaimedOf(slots[i], reply.Val())
			return err
		},
	}.Each(ctx, n.library)
	if sloterr.IsOfAll(err) {
		return nil, err
	}
	return all, err
}
