// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package entries

import (
	"context"
	"strings"
	"time"
	"unsafe"

	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/parse"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
	"github.com/cachewright/cachewright/registry/internal/wire"
)

// Read looks an entry up with one MGET. It also returns the bytes of a hit: header and payload.
func (e *Entries) Read(
	ctx context.Context, key keyspace.Key,
) (lookup parse.Lookup, value string, err error) {
	var array [4]string
	keys := keyspace.AppendReadKeys(array[:0], key)
	values, err := e.transport.read(ctx, key.Slot, keys)
	if err != nil {
		return parse.Lookup{}, "", sloterr.Call("reading an entry", key.Slot, err)
	}
	return lookupOf(key, values), values[0], nil
}

// ReadLocked also says, on a miss, whether another caller holds the load lock of the entry.
func (e *Entries) ReadLocked(
	ctx context.Context, key keyspace.Key,
) (lookup parse.Lookup, locked bool, err error) {
	var array [5]string
	keys := append(keyspace.AppendReadKeys(array[:0], key), keyspace.LockKey(key))
	values, err := e.transport.read(ctx, key.Slot, keys)
	if err != nil {
		return parse.Lookup{}, false, sloterr.Call("reading an entry and its load lock", key.Slot, err)
	}
	last := len(values) - 1
	lookup = lookupOf(key, values[:last])
	return lookup, isLocked(lookup, values[:last], values[last]), nil
}

// isLocked says whether another caller loads an entry. values are those of its read keys.
func isLocked(found parse.Lookup, values []string, lock string) bool {
	return !found.Hit && !isMark(values[0]) && isLockValid(lock, values[1:])
}

// markPrefix begins the value that a hold leaves in place of a head or an entry.
const markPrefix = "!!"

// isMark says whether a hold left this value in place of a head or an entry.
func isMark(value string) bool { return strings.HasPrefix(value, markPrefix) }

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
func lookupOf(key keyspace.Key, values []string) parse.Lookup {
	found, live := wire.DecodeLive(values[0], values[1:]...)
	if !live || found.Schema != key.Schema {
		return parse.Lookup{Token: tokenOf(values[0], values[1:])}
	}
	remaining := max(0, time.Until(found.FreshUntil))
	return parse.Lookup{
		Hit:       true,
		Payload:   bytesOf(found.Payload),
		Negative:  found.Negative,
		Stale:     found.SoftStale || remaining == 0,
		Remaining: remaining,
	}
}

// tokenOf returns the token of the heads that a miss found. It is empty if a head is missing, or if
// there is anything in place of the entry. That may be a mark, or an entry that was invalidated.
func tokenOf(entry string, heads []string) parse.Token {
	if entry != "" {
		return ""
	}
	for i, head := range heads {
		if isMark(head) || !wire.IsHead(i, head) {
			return ""
		}
	}
	return parse.TokenOf(heads)
}

// bytesOf returns the bytes of a part of a reply without a copy. go-redis read the reply for this
// call alone.
func bytesOf(s string) []byte {
	//nolint:gosec // nothing else reads this part of the reply
	return unsafe.Slice(unsafe.StringData(s), len(s))
}
