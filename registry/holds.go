// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/cachewright/cachewright/registry/internal/holds"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
)

// MaxHold is the longest time that Hold accepts. Longer holds are renewed.
const MaxHold = 10 * time.Minute

// HoldID identifies a hold in all slots that it covers. The library refuses one of zero bytes.
type HoldID [16]byte

// NewHoldID returns a random id.
func NewHoldID() (id HoldID) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// HoldTarget is a part of a slot that a hold covers. Get one from HoldScope or HoldEntry.
type HoldTarget = holds.Target

// HoldScope covers all entries in a scope. The operation of a user covers the user in the whole
// slot.
func HoldScope(scope Scope) HoldTarget { return holds.InScope(scope.Operation, scope.User) }

// HoldEntry covers one entry. It ignores the slot of the key.
func HoldEntry(key Key) HoldTarget { return holds.Entry(keyspace.Key(key)) }

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
	hold := holds.Hold{Slot: slot, ID: holds.ID(id), Targets: targets}
	renewed, err := r.holds.Renew(ctx, hold, ttl)
	return Held(renewed), err
}

// Release ends a hold of these targets, and returns how many of them it covered until now. Others
// may have been filled since Redis lost their marks, so it invalidates them. It tries each 64
// targets, even if some fail.
func (r *Registry) Release(
	ctx context.Context, slot Slot, id HoldID, targets ...HoldTarget,
) (lifted int64, err error) {
	return r.holds.Release(ctx, holds.Hold{Slot: slot, ID: holds.ID(id), Targets: targets})
}
