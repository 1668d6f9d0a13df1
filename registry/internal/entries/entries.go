// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package entries reads, leases, fills and deletes single entries.
package entries

import (
	"context"
	"time"

	"github.com/cachewright/cachewright/registry/internal/bounds"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/library"
	"github.com/cachewright/cachewright/registry/internal/parse"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

// Entries are those in one Redis. Safe for concurrent use.
type Entries struct {
	library   *library.Library
	transport transport
}

// New returns the entries of a Redis, without pipelining.
func New(lib *library.Library) *Entries {
	return &Entries{library: lib, transport: transport{client: lib.Client()}}
}

// Lease looks an entry up and, on a miss, takes a token to fill it with.
func (e *Entries) Lease(ctx context.Context, key keyspace.Key) (parse.Lookup, error) {
	return e.lease(ctx, key, noLock)
}

// LeaseLocked is Lease that also takes the load lock of the entry on a miss.
func (e *Entries) LeaseLocked(
	ctx context.Context, key keyspace.Key, lock time.Duration,
) (parse.Lookup, error) {
	return e.lease(ctx, key, bounds.WholeMilliseconds(lock))
}

// noLock leases without the load lock.
const noLock = -1

func (e *Entries) lease(
	ctx context.Context, key keyspace.Key, lockMs int64,
) (parse.Lookup, error) {
	reply, err := e.callTogether(ctx, "cw_get", key.Slot, leaseArgs(key, lockMs)...)
	if err != nil {
		return parse.Lookup{}, err
	}
	return leasedOf(key, reply)
}

func leasedOf(key keyspace.Key, reply any) (parse.Lookup, error) {
	lookup, ok := parse.LookupOf(reply)
	if !ok {
		return parse.Lookup{}, sloterr.Unexpected("cw_get", key.Slot, reply)
	}
	return lookup, nil
}

// leaseArgs leaves out what it may, so that earlier versions of the library answer, too.
func leaseArgs(key keyspace.Key, lockMs int64) []any {
	args := addressArgs(key)
	switch {
	case key.Schema != "":
		return append(args, max(0, lockMs), key.Schema)
	case lockMs != noLock:
		return append(args, lockMs)
	default:
		return args
	}
}

// Unlock releases a load lock.
func (e *Entries) Unlock(ctx context.Context, key keyspace.Key) error {
	_, err := e.callTogether(ctx, "cw_unlock", key.Slot, addressArgs(key)...)
	return err
}

// Delete removes one entry and fences loads of it that are in progress. It says whether the entry
// was live.
func (e *Entries) Delete(ctx context.Context, key keyspace.Key) (bool, error) {
	reply, err := e.library.Call(ctx, "cw_delete", key.Slot, addressArgs(key)...)
	return reply == int64(1), err
}

// callTogether calls a function of the library, if it may in a pipeline with other callers.
func (e *Entries) callTogether(
	ctx context.Context, function string, slot keyspace.Slot, args ...any,
) (any, error) {
	return e.library.CallBy(ctx, e.transport.process, function, slot, args)
}
