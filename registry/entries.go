// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"time"

	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/parse"
)

// Token holds the heads that were in place when a load began. It fences the fill: after an
// invalidation that covers the entry, the token is void. An opaque ASCII string. Its method
// Unleased says that Read gave it.
type Token = parse.Token

// Lookup is the answer to a read.
type Lookup struct {
	// Hit says that a live entry was found.
	Hit bool
	// Payload of a hit.
	Payload []byte
	// Negative says of a hit that the source had nothing. The payload is what the fill provided.
	Negative bool
	// Stale says of a hit that it is past its TTL or was invalidated softly: it may be served while
	// one caller reloads it.
	Stale bool
	// Remaining is how long a hit stays fresh, never negative. Read measures it by this machine's
	// clock, Lease by that of Redis.
	Remaining time.Duration
	// Token to fill the entry with, after a miss, and after a stale hit for the one caller that is to
	// reload it. Read gives one after some misses.
	Token Token
	// Wait is how long another caller keeps the load lock at most, after a miss of LeaseLocked. The
	// token is valid anyway, for a caller that does not want to wait.
	Wait time.Duration
	// Cacheable says, after a miss, that the policy caches the operation, so that a fill is
	// worthwhile.
	Cacheable bool
	// Held is how long a hold forbids fills, after a miss of Lease. It is zero if the policy does not
	// cache the operation.
	Held time.Duration
}

// Lease looks an entry up and, on a miss, takes a token to fill it with. Call it before loading.
// Redis counts the hit or miss.
func (r *Registry) Lease(ctx context.Context, key Key) (Lookup, error) {
	lookup, err := r.entries.Lease(ctx, keyspace.Key(key))
	return Lookup(lookup), err
}

// LeaseLocked is Lease that also takes the load lock of the entry on a miss, so that one process
// loads while others wait. It takes the lock for up to the given time, at most 10 minutes. If
// another caller has it, Wait says for how long. A fill, or Unlock, releases it.
func (r *Registry) LeaseLocked(ctx context.Context, key Key, lock time.Duration) (Lookup, error) {
	lookup, err := r.entries.LeaseLocked(ctx, keyspace.Key(key), lock)
	return Lookup(lookup), err
}

// Unlock releases a load lock after a failed load.
func (r *Registry) Unlock(ctx context.Context, key Key) error {
	return r.entries.Unlock(ctx, keyspace.Key(key))
}

// Get is Read and, on a miss or a stale hit, Lease.
func (r *Registry) Get(ctx context.Context, key Key) (Lookup, error) {
	lookup, err := r.Read(ctx, key)
	if err != nil || lookup.Hit && !lookup.Stale {
		return lookup, err
	}
	return r.Lease(ctx, key)
}

// Delete removes one entry and fences loads of it that are in progress. It says whether the entry
// was live.
func (r *Registry) Delete(ctx context.Context, key Key) (bool, error) {
	return r.entries.Delete(ctx, keyspace.Key(key))
}
