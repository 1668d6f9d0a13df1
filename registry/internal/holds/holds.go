// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package holds makes and releases holds, which invalidate and forbid fills for a while.
package holds

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cachewright/cachewright/registry/internal/bounds"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/library"
	"github.com/cachewright/cachewright/registry/internal/parse"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

// maxTargets is the number of targets in one call of the library.
const maxTargets = 64

// ID identifies a hold. Package registry documents it.
type ID [16]byte

// Target is a part of a slot that a hold covers. Package registry exports and documents it.
type Target struct{ kind, operation, user, id string }

// InScope covers all entries of an operation, a user, or both.
func InScope(operation, user string) Target {
	return Target{kind: "s", operation: operation, user: user}
}

// Entry covers one entry.
func Entry(key keyspace.Key) Target {
	return Target{kind: "e", operation: key.Operation, user: key.User, id: key.ID}
}

// Held is the answer to a hold. Its fields are those of registry.Held.
type Held struct {
	Keys  int64
	Stood int64
}

// Holds are those in one Redis.
type Holds struct{ library *library.Library }

// New returns the holds in a Redis.
func New(lib *library.Library) *Holds { return &Holds{library: lib} }

// Hold of targets in a slot.
type Hold struct {
	keyspace.Slot

	ID      ID
	Targets []Target
}

// Renew begins a hold, or sets another end.
func (h *Holds) Renew(ctx context.Context, hold Hold, ttl time.Duration) (held Held, err error) {
	for batch := range slices.Chunk(hold.Targets, maxTargets) {
		args := appendTargets([]any{string(hold.ID[:]), bounds.WholeMilliseconds(ttl)}, batch)
		reply, err := h.library.Call(ctx, "cw_hold", hold.Slot, args...)
		if err != nil {
			return held, err
		}
		keys, stood, err := parse.Pair("cw_hold", hold.Slot, reply)
		if err != nil {
			return held, err
		}
		held.Keys, held.Stood = held.Keys+keys, held.Stood+stood
	}
	return held, nil
}

// Release ends a hold, and returns how many of its targets it covered until now. It tries all of
// them, even if some fail.
func (h *Holds) Release(ctx context.Context, hold Hold) (lifted int64, err error) {
	for batch := range slices.Chunk(hold.Targets, maxTargets) {
		args := appendTargets([]any{string(hold.ID[:])}, batch)
		reply, callErr := h.library.Call(ctx, "cw_release", hold.Slot, args...)
		count, isNumber := reply.(int64)
		switch {
		case callErr != nil:
		case !isNumber:
			callErr = sloterr.Unexpected("cw_release", hold.Slot, reply)
		case count < 0 || count > int64(len(batch)):
			callErr = sloterr.Implausible("cw_release", hold.Slot, "a count that is negative or too large")
		default:
			lifted += count
		}
		err = errors.Join(err, callErr)
	}
	return lifted, err
}

func appendTargets(args []any, targets []Target) []any {
	for _, target := range targets {
		args = append(args, target.kind, target.operation, target.user, target.id)
	}
	return args
}
