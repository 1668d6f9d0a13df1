// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fencing puts fences in place, and heartbeats. It does so on the connection on which it
// asked the server for its incarnation. So nothing is written to another state of the data.
package fencing

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/info"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/library"
	"github.com/cachewright/cachewright/registry/internal/parse"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

// Fence of a slot. Its fields are those of registry.Fence.
type Fence struct {
	keyspace.Slot

	Incarnation info.Incarnation
	InPlace     bool
	Covered     parse.Invalidated
}

// Fences are those in one Redis.
type Fences struct {
	client  redis.UniversalClient
	library *library.Library
}

// New returns the fences of a Redis.
func New(lib *library.Library) *Fences {
	return &Fences{client: lib.Client(), library: lib}
}

const (
	// fenceBatch is the number of slots in one pipeline, during which other clients wait.
	fenceBatch = 50
	// fenceMemory is how long a fence is remembered after it was last read. Later, the slot may be
	// fenced once more, which costs misses.
	fenceMemory = 30 * 24 * time.Hour
	// fenceMark is the library's answer to a fence that is in place: no keys, none pending.
	fenceMark = "0 0"

	fencing = "fencing" // in errors
)

func fenceRequest(incarnation info.Incarnation) string { return "fence/" + string(incarnation) }

// keyIn names where the fence of an incarnation is.
func (f *Fence) keyIn(incarnation info.Incarnation) string {
	return keyspace.RequestKey(f.Slot, fenceRequest(incarnation))
}

// Read records which incarnation serves the slots of fences, and which fences are in place.
func (s *Fences) Read(ctx context.Context, fences []*Fence) error {
	return s.eachPrimary(ctx, fences, func(ctx context.Context, conn *redis.Conn,
		current info.Incarnation, fences []*Fence,
	) error {
		return onFences(ctx, conn, fencing, fences, func(
			pipe redis.Pipeliner, fence *Fence,
		) *redis.StringCmd {
			return pipe.GetEx(ctx, fence.keyIn(current), fenceMemory)
		}, func(fence *Fence, reply *redis.StringCmd) error {
			fence.Incarnation, fence.InPlace = current, reply.Err() == nil
			if fault.IsWrongType(reply.Err()) {
				return nil // not a fence; putting one in place replaces it
			}
			return sloterr.Failure(reply.Name(), fence.Slot, reply.Err())
		})
	})
}

// Put invalidates the modules of fences, once per incarnation however many callers there are. It
// records in each that it is in place and what it covered.
func (s *Fences) Put(ctx context.Context, fences []*Fence) error {
	return s.library.With(ctx, func() error { return s.put(ctx, fences) })
}

func (s *Fences) put(ctx context.Context, fences []*Fence) error {
	return s.eachPrimary(ctx, fences, func(ctx context.Context, conn *redis.Conn,
		current info.Incarnation, fences []*Fence,
	) error {
		if err := requireCurrent(fencing, current, fences); err != nil {
			return err
		}
		return onFences(ctx, conn, fencing, fences, func(pipe redis.Pipeliner, fence *Fence) *redis.Cmd {
			call := pipe.FCall(ctx, "cw_invalidate", []string{keyspace.SlotKey(fence.Slot)}, "", "",
				"hard", fenceRequest(current))
			pipe.PExpire(ctx, fence.keyIn(current), fenceMemory)
			return call
		}, (*Fence).record)
	})
}

// record takes over the answer of the call that put the fence in place.
func (f *Fence) record(reply *redis.Cmd) error {
	if err := sloterr.Failure(reply.Name(), f.Slot, reply.Err()); err != nil {
		return err
	}
	covered, err := parse.InvalidatedOf(f.Slot, reply.Val())
	if err != nil {
		return err
	}
	f.InPlace, f.Covered = true, covered
	return nil
}

// Mark records that fences are in place, without an invalidation.
func (s *Fences) Mark(ctx context.Context, fences []*Fence) error {
	return s.eachPrimary(ctx, fences, func(ctx context.Context, conn *redis.Conn,
		current info.Incarnation, fences []*Fence,
	) error {
		if err := requireCurrent(fencing, current, fences); err != nil {
			return err
		}
		return onFences(ctx, conn, fencing, fences, func(
			pipe redis.Pipeliner, fence *Fence,
		) *redis.StatusCmd {
			return pipe.Set(ctx, fence.keyIn(current), fenceMark, fenceMemory)
		}, func(fence *Fence, reply *redis.StatusCmd) error {
			return sloterr.Failure(reply.Name(), fence.Slot, reply.Err())
		})
	})
}

func requireCurrent(what string, current info.Incarnation, fences []*Fence) error {
	for _, fence := range fences {
		if fence.Incarnation != current {
			return fmt.Errorf(
				"%s of %s: %w: meanwhile another server, or another state of its data, serves it", what,
				fence.Slot, fault.ErrUnreachable)
		}
	}
	return nil
}
