// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"time"

	"github.com/cachewright/cachewright/registry/internal/entries"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/parse"
)

// Calls about many entries of any slots are made in pipelines of 128, so that other clients of
// Redis need not wait long. Each entry has an answer of its own.

// Leased is the answer to one of many leases.
type Leased struct {
	Lookup

	Err error
}

// Fill is what SetMany stores.
type Fill struct {
	Key     Key
	Payload []byte
	Token   Token
	Options FillOptions
}

// FillResult is the answer to one of many fills.
type FillResult struct {
	Filled

	Err error
}

// ReadMany is Read of many entries of one slot, with one MGET. ErrRejected: they are of several
// slots. Other clients of Redis wait meanwhile, about a microsecond for each entry. A reply of more
// than 256 MiB is refused: read fewer large entries at a time.
func (r *Registry) ReadMany(ctx context.Context, keys []Key) ([]Lookup, error) {
	lookups := make([]Lookup, len(keys))
	err := r.entries.ReadMany(ctx, addressesOf(keys), func(i int, lookup parse.Lookup) {
		lookups[i] = Lookup(lookup)
	})
	if err != nil {
		return nil, err
	}
	return lookups, nil
}

// ReadManyLocked is ReadLocked of many entries of one slot, with one MGET. See ReadMany.
func (r *Registry) ReadManyLocked(
	ctx context.Context, keys []Key,
) (lookups []Lookup, locked []bool, err error) {
	found, locked, err := r.entries.ReadManyLocked(ctx, addressesOf(keys))
	if err != nil {
		return nil, nil, err
	}
	lookups = make([]Lookup, len(found))
	for i, lookup := range found {
		lookups[i] = Lookup(lookup)
	}
	return lookups, locked, nil
}

// LeaseMany is LeaseLocked of many entries or, with a lock of 0, Lease.
func (r *Registry) LeaseMany(ctx context.Context, keys []Key, lock time.Duration) []Leased {
	leased := make([]Leased, len(keys))
	for i, of := range r.entries.LeaseMany(ctx, addressesOf(keys), lock) {
		leased[i] = Leased{Lookup: Lookup(of.Lookup), Err: of.Err}
	}
	return leased
}

// UnlockMany is Unlock of many entries. It returns an error, or nil, for each.
func (r *Registry) UnlockMany(ctx context.Context, keys []Key) []error {
	return r.entries.UnlockMany(ctx, addressesOf(keys))
}

// SetMany is Registry.Fill of many entries.
func (r *Registry) SetMany(ctx context.Context, fills []Fill) []FillResult {
	all := make([]entries.Fill, len(fills))
	for i, fill := range fills {
		all[i] = entries.Fill{
			Key: keyspace.Key(fill.Key), Payload: fill.Payload, Token: fill.Token,
			Options: entries.Options(fill.Options),
		}
	}
	results := make([]FillResult, len(fills))
	for i, of := range r.entries.SetMany(ctx, all) {
		results[i] = FillResult{Filled: Filled(of.Filled), Err: of.Err}
	}
	return results
}

// DeleteMany is Delete of many entries. It returns an error, or nil, for each.
func (r *Registry) DeleteMany(ctx context.Context, keys []Key) []error {
	return r.entries.DeleteMany(ctx, addressesOf(keys))
}

func addressesOf(keys []Key) []keyspace.Key {
	all := make([]keyspace.Key, len(keys))
	for i, key := range keys {
		all[i] = keyspace.Key(key)
	}
	return all
}
