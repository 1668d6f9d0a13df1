// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/wire"
)

// Read looks an entry up with one MGET, and takes no lease on a miss. Redis does not count it: see
// Report.
func (r *Registry) Read(ctx context.Context, key Key) (Lookup, error) {
	lookup, _, err := r.read(ctx, key)
	return lookup, err
}

// Version distinguishes an entry from earlier and later ones under the same key. It depends on the
// invalidations that the entry outlived and on the time until which it stays fresh. Opaque.
type Version string

// Inspect is Read that also returns the version of a hit. Two hits with the same version and
// payload found the same entry, and no invalidation covered it in between. (Or it was deleted and
// stored again unchanged, within a millisecond.) It serves those who watch an entry.
func (r *Registry) Inspect(ctx context.Context, key Key) (Lookup, Version, error) {
	lookup, value, err := r.read(ctx, key)
	if err != nil || !lookup.Hit {
		return lookup, "", err
	}
	return lookup, Version(value[:len(value)-len(lookup.Payload)]), nil
}

// read also returns the bytes of a hit: header and payload.
func (r *Registry) read(ctx context.Context, key Key) (lookup Lookup, value string, err error) {
	var array [4]string
	values, err := r.readKeys(ctx, key.Slot, key.appendReadKeys(array[:0]))
	if err != nil {
		return Lookup{}, "", callError("reading an entry", key.Slot, err)
	}
	return lookupOf(values), values[0], nil
}

// ReadLocked is Read that also says, on a miss, whether another caller holds the load lock of the
// entry, so that waiting is worthwhile. It is for callers that must wait after LeaseLocked. It
// takes nothing, and Redis does not count it.
func (r *Registry) ReadLocked(
	ctx context.Context, key Key,
) (lookup Lookup, locked bool, err error) {
	var array [5]string
	keys := append(key.appendReadKeys(array[:0]), key.lockKey())
	values, err := r.readKeys(ctx, key.Slot, keys)
	if err != nil {
		return Lookup{}, false, callError("reading an entry and its load lock", key.Slot, err)
	}
	last := len(values) - 1
	lookup = lookupOf(values[:last])
	if lookup.Hit || isMark(values[0]) {
		return lookup, false, nil
	}
	return lookup, isLockValid(values[last], values[1:last]), nil
}

// isLockValid compares a load lock with the heads. The lock is the token of its owner: a character,
// and the heads at that time. A load that began under other heads will be fenced. A renewed fence
// in the operation's head does not matter: it comes from the deletion of an entry, usually another
// one.
func isLockValid(lock string, heads []string) bool {
	token := "-" + strings.Join(heads, "") // of a load that would begin now
	fence := 1 + len(heads[0]) + wire.EpochLen
	end := fence + wire.EpochLen
	return len(lock) == len(token) && len(token) >= end && lock[1:fence] == token[1:fence] &&
		lock[end:] == token[end:]
}

// lookupOf decodes the values of an entry's read keys.
func lookupOf(values []string) Lookup {
	found, live := wire.DecodeLive(values[0], values[1:]...)
	if !live {
		return Lookup{}
	}
	remaining := max(0, time.Until(found.FreshUntil))
	return Lookup{
		Hit:       true,
		Payload:   bytesOf(found.Payload),
		Negative:  found.Negative,
		Stale:     found.SoftStale || remaining == 0,
		Remaining: remaining,
	}
}

// readKeys returns the values of an entry's read keys. It may overwrite the keys with the values.
func (r *Registry) readKeys(ctx context.Context, slot Slot, keys []string) ([]string, error) {
	if r.batches != nil {
		return r.batches.read(ctx, slot, keys)
	}
	return mget(ctx, r.processTogether, keys)
}

// mget returns the values of keys, empty for those that are missing. It is redis.Client.MGet
// without the overhead of values of any type.
func mget(ctx context.Context, process processor, keys []string) ([]string, error) {
	args := make([]any, 1+len(keys))
	args[0] = "mget"
	for i, key := range keys {
		args[1+i] = key
	}
	cmd := redis.NewStringSliceCmd(ctx, args...)
	if err := process(ctx, cmd); err != nil {
		return nil, err
	}
	values := cmd.Val()
	if len(values) != len(keys) {
		return nil, fmt.Errorf("%w: %d values of %d keys", ErrUnexpected, len(values), len(keys))
	}
	return values, nil
}

// bytesOf returns the bytes of a part of a reply without a copy. go-redis read the reply for this
// call alone.
func bytesOf(s string) []byte {
	//nolint:gosec // nothing else reads this part of the reply
	return unsafe.Slice(unsafe.StringData(s), len(s))
}
