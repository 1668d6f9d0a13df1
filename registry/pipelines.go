// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
)

// commandSender sends commands in one round trip (to each node of a cluster).
type commandSender interface {
	Pipelined(ctx context.Context, fn func(redis.Pipeliner) error) ([]redis.Cmder, error)
}

// located is a Slot, or a struct that embeds one.
type located interface{ slot() Slot }

func (s Slot) slot() Slot { return s }

// pipelined sends a command for each item in one round trip, and passes the replies to receive. It
// returns the errors of receive by slot. It fails as a whole if nothing was sent, or if the library
// is missing.
func pipelined[T located, C redis.Cmder](
	ctx context.Context, client commandSender, what string, items []T, send func(redis.Pipeliner, T) C,
	receive func(int, C) error,
) (SlotErrors, error) {
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
	broken := SlotErrors{}
	for i, item := range items {
		err := receive(i, replies[i])
		if errors.Is(err, errNoLibrary) {
			return nil, err
		}
		if err != nil {
			broken[item.slot()] = err
		}
	}
	return broken, nil
}

// callEach calls a function of the library for each item, in pipelines of limited size, and loads a
// missing library.
func callEach[T located](
	ctx context.Context, r *Registry, function string, items []T, batch int,
	send func(redis.Pipeliner, T) *redis.Cmd, receive func(int, *redis.Cmd) error,
) error {
	broken := SlotErrors{}
	for from := 0; from < len(items); from += batch {
		part := items[from:min(from+batch, len(items))]
		err := r.withLibrary(ctx, func() error {
			failed, err := pipelined(ctx, r.client, function+" of many modules", part, send,
				func(i int, reply *redis.Cmd) error {
					if err := callFailure(function, part[i].slot(), reply.Err()); err != nil {
						return err
					}
					return receive(from+i, reply)
				})
			if err != nil {
				return err
			}
			return failed.of(len(part))
		})
		if err := broken.Take(err); err != nil {
			return err
		}
	}
	return broken.OrNil()
}

// callFailure returns the error of a call on a slot. A nil reply is not an error.
func callFailure(call string, slot Slot, err error) error {
	switch {
	case err == nil || errors.Is(err, redis.Nil):
		return nil
	case fault.IsFunctionMissing(err):
		return noLibrary(call, slot)
	default:
		return callError(call, slot, err)
	}
}
