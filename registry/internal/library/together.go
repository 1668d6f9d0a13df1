// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package library

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

// Invocation is one of many calls of a function.
type Invocation struct {
	keyspace.Slot

	Args []any
}

// Reply is the answer to one of many calls.
type Reply struct {
	Value any
	Err   error
}

// Together makes many calls of a function in one pipeline (to each node of a cluster). Calls whose
// server lacked the library are repeated, once it is loaded. Each call has an answer of its own.
func (l *Library) Together(ctx context.Context, function string, calls []Invocation) []Reply {
	replies := l.pipeline(ctx, function, calls)
	var missed []Invocation
	for i, reply := range replies {
		if errors.Is(reply.Err, sloterr.ErrNoLibrary) {
			missed = append(missed, calls[i])
		}
	}
	if len(missed) == 0 {
		return replies
	}
	var again []Reply
	err := l.InstallOnce(ctx)
	if err == nil {
		again = l.pipeline(ctx, function, missed)
	}
	for i := range replies {
		switch {
		case !errors.Is(replies[i].Err, sloterr.ErrNoLibrary):
		case err != nil:
			replies[i].Err = err
		default:
			replies[i], again = again[0], again[1:]
			if errors.Is(replies[i].Err, sloterr.ErrNoLibrary) { // another one of this version was loaded
				replies[i].Err = fmt.Errorf("%w: %w", fault.ErrLibraryTooOld, replies[i].Err)
			}
		}
	}
	return replies
}

func (l *Library) pipeline(ctx context.Context, function string, calls []Invocation) []Reply {
	commands := make([]*redis.Cmd, len(calls))
	unsent := fault.Unsent(l.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, call := range calls {
			commands[i] = pipe.FCall(ctx, function, []string{keyspace.SlotKey(call.Slot)}, call.Args...)
		}
		return nil
	}))
	replies := make([]Reply, len(calls))
	for i, call := range calls {
		switch {
		case unsent != nil:
			replies[i].Err = sloterr.Call(function, call.Slot, unsent)
		default:
			replies[i].Err = sloterr.Failure(function, call.Slot, commands[i].Err())
			replies[i].Value = commands[i].Val()
		}
	}
	return replies
}
