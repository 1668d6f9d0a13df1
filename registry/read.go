// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"

	"github.com/cachewright/cachewright/registry/internal/keyspace"
)

// Read looks an entry up with one MGET, and takes no lease on a miss. Redis does not count it: see
// Report. Where all heads are in place and nothing is in place of the entry, a miss has a Token. A
// load that begins after Read may fill the entry with it, as after Lease, but nobody else waits for
// that load. The fill fails with ErrLibraryTooOld if the library is from before HeadsLibrary.
func (r *Registry) Read(ctx context.Context, key Key) (Lookup, error) {
	lookup, _, err := r.entries.Read(ctx, keyspace.Key(key))
	return Lookup(lookup), err
}

// Version distinguishes an entry from earlier and later ones under the same key. It depends on the
// invalidations that the entry outlived and on the time until which it stays fresh. Opaque.
type Version string

// Inspect is Read that also returns the version of a hit. Two hits with the same version and
// payload found the same entry, and no invalidation covered it in between. (Or it was deleted and
// stored again unchanged, within a millisecond.) It serves those who watch an entry.
func (r *Registry) Inspect(ctx context.Context, key Key) (Lookup, Version, error) {
	lookup, value, err := r.entries.Read(ctx, keyspace.Key(key))
	if err != nil || !lookup.Hit {
		return Lookup(lookup), "", err
	}
	return Lookup(lookup), Version(value[:len(value)-len(lookup.Payload)]), nil
}

// ReadLocked is Read that also says, on a miss, whether another caller holds the load lock of the
// entry, so that waiting is worthwhile. It is for callers that must wait after LeaseLocked. It
// takes nothing, and Redis does not count it.
func (r *Registry) ReadLocked(
	ctx context.Context, key Key,
) (lookup Lookup, locked bool, err error) {
	found, locked, err := r.entries.ReadLocked(ctx, keyspace.Key(key))
	return Lookup(found), locked, err
}
