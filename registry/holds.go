// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/cachewright/cachewright/registry/internal/bounds"
	"github.com/cachewright/cachewright/registry/internal/parse"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

const (
	// MaxHold is the longest time that Hold accepts. Longer holds are renewed.
	MaxHold = 10 * time.Minute
	// maxHoldTargets is the number of targets in one call of the library.
	maxHoldTargets = 64
)

// HoldID identifies a hold in all slots that it covers. The library refuses one of zero bytes.
type HoldID [16]byte

// NewHoldID returns a random id.
func NewHoldID() (id HoldID) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// HoldTarget is a part of a slot that a hold covers. Get one from HoldScope or HoldEntry.
type HoldTarget struct{ kind, operation, user, id string }

// HoldScope covers all entries in a scope. The operation of a user covers the user in the whole
// slot.
func HoldScope(scope Scope) HoldTarget {
	return HoldTarget{kind: "s", operation: scope.Operation, user: scope.User}
}

// HoldEntry covers one entry. It ignores the slot of the key.
func HoldEntry(key Key) HoldTarget {
	return HoldTarget{kind: "e", operation: key.Operation, user: key.User, id: key.ID}
}

// Held is the answer to Hold.
type Held struct {
	// Keys that were live and are invalid now.
	Keys int64
	// Stood is the number of targets that this hold covered already when it was renewed. If it is
	// lower than the number of targets, Redis lost a mark, or more than 64 holds cover a target.
	Stood int64
}

// Hold invalidates its targets and forbids fills of them for a while, at most MaxHold. Call it
// again with the same id to renew the hold. The new end may also be earlier. Of more than 64
// targets, each 64 are covered atomically. After an error, some may be covered: call Release.
func (r *Registry) Hold(
	ctx context.Context, slot Slot, id HoldID, ttl time.Duration, targets ...HoldTarget,
) (held Held, err error) {
	for batch := range slices.Chunk(targets, maxHoldTargets) {
		args := appendTargets([]any{string(id[:]), bounds.WholeMilliseconds(ttl)}, batch)
		reply, err := r.library.Call(ctx, "cw_hold", slot, args...)
		if err != nil {
			return held, err
		}
		keys, stood, err := parse.Pair("cw_hold", slot, reply)
		if err != nil {
			return held, err
		}
		held.Keys, held.Stood = held.Keys+keys, held.Stood+stood
	}
	return held, nil
}

// Release ends a hold of these targets, and returns how many of them it covered until now. Others
// may have been filled since Redis lost their marks, so it invalidates them. It tries each 64
// targets, even if some fail.
func (r *Registry) Release(
	ctx context.Context, slot Slot, id HoldID, targets ...HoldTarget,
) (lifted int64, err error) {
	for batch := range slices.Chunk(targets, maxHoldTargets) {
		args := appendTargets([]any{string(id[:])}, batch)
		reply, callErr := r.library.Call(ctx, "cw_release", slot, args...)
		count, isNumber := reply.(int64)
		switch {
		case callErr != nil:
		case !isNumber:
			callErr = sloterr.Unexpected("cw_release", slot, reply)
		case count < 0 || count > int64(len(batch)):
			callErr = sloterr.Implausible("cw_release", slot, "a count that is negative or too large")
		default:
			lifted += count
		}
		err = errors.Join(err, callErr)
	}
	return lifted, err
}

func appendTargets(args []any, targets []HoldTarget) []any {
	for _, target := range targets {
		args = append(args, target.kind, target.operation, target.user, target.id)
	}
	return args
}
