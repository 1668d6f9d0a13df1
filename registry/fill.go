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

// Outcome is the result of a fill: Stored, Disabled, Fenced or Refused. Its String method returns
// it in lower case.
type Outcome = parse.Outcome

const (
	// Stored: the entry is in Redis.
	Stored Outcome = parse.Stored
	// Disabled: the policy does not cache the operation, or there is no policy.
	Disabled Outcome = parse.Disabled
	// Fenced: an invalidation covered the entry after the token was taken.
	Fenced Outcome = parse.Fenced
	// Refused: the payload is larger than the policy allows, or the policy requires a user and the key
	// has none.
	Refused Outcome = parse.Refused
)

// Filled is the answer to a fill.
type Filled struct {
	Outcome Outcome
	// TTL of a stored entry, by the policy.
	TTL time.Duration
}

// FillOptions say how a payload is stored. The zero value leaves everything to the policy.
type FillOptions struct {
	// Negative says that the source has nothing under the key. The entry lives for the operation's
	// NegativeTTL. Without one, the outcome is Disabled. The payload may be empty.
	Negative bool
	// TTL ends the entry before the policy would, in whole milliseconds, rounded down. There is no
	// stale time after it, and jitter only shortens it. 0: the policy's. If it is less than a
	// millisecond or below 0, the call fails with ErrRejected. If it is more than the policy allows
	// for such an entry, the call fails with ErrTTLTooLong. ErrLibraryTooOld: see PutLibrary. After
	// these errors nothing has changed.
	TTL time.Duration
}

// Set stores a payload unless an invalidation has covered the entry since the token was taken. TTL,
// jitter and limits come from the policy in Redis.
func (r *Registry) Set(ctx context.Context, key Key, payload []byte, token Token) (Filled, error) {
	return r.Fill(ctx, key, payload, token, FillOptions{})
}

// SetNegative stores that the source has nothing under the key, for the operation's NegativeTTL.
// Without one, the outcome is Disabled. The payload may be empty.
func (r *Registry) SetNegative(
	ctx context.Context, key Key, payload []byte, token Token,
) (Filled, error) {
	return r.Fill(ctx, key, payload, token, FillOptions{Negative: true})
}

// Fill is Set with options.
func (r *Registry) Fill(
	ctx context.Context, key Key, payload []byte, token Token, options FillOptions,
) (Filled, error) {
	filled, err := r.entries.Set(ctx, keyspace.Key(key), payload, token, entries.Options(options))
	return Filled(filled), err
}

// Put stores a payload in place of what is there, for callers that know the value of the source.
// There is no moment in which readers find nothing. Whatever the outcome, what was there before is
// gone, and loads of the entry that are in progress are fenced, as by Delete. The outcome is Fenced
// where a hold forbids fills. After an error, what was there before may still be there: call
// Delete. ErrLibraryTooOld: see PutLibrary.
func (r *Registry) Put(
	ctx context.Context, key Key, payload []byte, options FillOptions,
) (Filled, error) {
	filled, err := r.entries.Put(ctx, keyspace.Key(key), payload, entries.Options(options))
	return Filled(filled), err
}
