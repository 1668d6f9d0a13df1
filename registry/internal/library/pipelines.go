// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package library

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

// Sender sends commands in one round trip (to each node of a cluster).
type Sender interface {
	Pipelined(ctx context.Context, fn func(redis.Pipeliner) error) ([]redis.Cmder, error)
}

// Pipelined sends a command for each item in one round trip, and passes the replies to receive. It
// returns the errors of receive by slot. It fails as a whole if nothing was sent, or if the library
// is missing.
func Pipelined[T keyspace.Located, C redis.Cmder](
	ctx context.Context, client Sender, what string, items []T, send func(redis.Pipeliner, T) C,
	receive func(int, C) error,
) (sloterr.Errors, error) {
	replies := make([]C, len(items))
	err := fault.Unsent(client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, item := range items {
			replies[i] = send(pipe, item)
		}
		return nil
	}))
	if err != nil {
		return nil, fault.Classify(what, err)
	}
	broken := sloterr.Errors{}
	for i, item := range items {
		err := receive(i, replies[i])
		if errors.Is(err, sloterr.ErrNoLibrary) {
			return nil, err
		}
		if err != nil {
			broken[keyspace.SlotOf(item)] = err
		}
	}
	return broken, nil
}

// Calls of a function of the library, one for each item.
type Calls[T keyspace.Located] struct {
	Function string
	Items    []T
	// InPipeline is the number of calls in one pipeline, during which other clients wait.
	InPipeline int
	// Send sends the call for an item.
	Send func(redis.Pipeliner, T) *redis.Cmd
	// Receive takes the reply for the item at an index, which is not an error.
	Receive func(int, *redis.Cmd) error
}

// Each makes the calls in pipelines of limited size, and loads a missing library.
func (c Calls[T]) Each(ctx context.Context, library *Library) error {
	broken := sloterr.Errors{}
	for from := 0; from < len(c.Items); from += c.InPipeline {
		err := library.With(ctx, func() error { return c.pipeline(ctx, library.client, from) })
		if err := broken.Take(err); err != nil {
			return err
		}
	}
	return broken.OrNil()
}

// pipeline makes the calls of the items from an index on.
func (c Calls[T]) pipeline(ctx context.Context, client Sender, from int) error {
	part := c.Items[from:min(from+c.InPipeline, len(c.Items))]
	failed, err := Pipelined(ctx, client, c.Function+" of many modules", part, c.Send,
		func(i int, reply *redis.Cmd) error {
			if err := sloterr.Failure(c.Function, keyspace.SlotOf(part[i]), reply.Err()); err != nil {
				return err
			}
			return c.Receive(from+i, reply)
		})
	if err != nil {
		return err
	}
	return sloterr.OfAll(failed, len(part))
}
