// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"strings"
)

// ReadLocked is Read, and says of a miss whether somebody has the load lock of the entry, that is, whether it is worth
// waiting for. It is for those whom LeaseLocked told to wait: it takes nothing, and is not counted in Redis.
func (r *Registry) ReadLocked(ctx context.Context, key Key) (lookup Lookup, locked bool, err error) {
	var room [5]string
	keys := append(key.appendReadKeys(room[:0]), key.lockKey())
	values, err := r.readKeys(ctx, key.Slot, keys)
	if err != nil {
		return Lookup{}, false, callError("reading an entry and its load lock", key.Slot, err)
	}
	last := len(values) - 1
	lookup = lookupOf(values[:last])
	return lookup, !lookup.Hit && holds(values[last], values[1:last]), nil
}

// holds says whether a load lock is worth anything: it is the token of its owner, a character and the heads that were in
// place. A load that began under others will be fenced; but a fence that was renewed in the operation's head, by the
// deletion of one entry, mostly was for another.
func holds(lock string, heads []string) bool {
	token := "-" + strings.Join(heads, "") // of a load that would begin now
	fence := 1 + len(heads[0]) + epochLen
	end := fence + epochLen
	return len(lock) == len(token) && len(token) >= end && lock[1:fence] == token[1:fence] && lock[end:] == token[end:]
}
