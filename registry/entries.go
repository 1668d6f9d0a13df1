// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"time"
)

// Token is what a load began with: the epochs in place. It fences the fill: after an invalidation
// that covers the entry it is worth nothing. Opaque; ASCII.
type Token string

// noLease is the token of an operation that is not cached.
const noLease Token = "0"

// Lookup is the answer to a read.
type Lookup struct {
	// Hit says that the entry was found live.
	Hit bool
	// Payload of a hit.
	Payload []byte
	// Remaining is how long a hit has left, never negative. By Read it is measured by this
	// machine's clock, by Lease by Redis'.
	Remaining time.Duration
	// Token to fill the entry with after a miss. Read takes none.
	Token Token
	// Cacheable says, after a miss, that the policy caches the operation, so a fill is worth its while.
	Cacheable bool
}

// Read looks for an entry with one MGET and takes no lease on a miss. It is not counted in Redis:
// see Report.
func (r *Registry) Read(ctx context.Context, key Key) (Lookup, error) {
	values, err := r.client.MGet(ctx, key.readKeys()...).Result()
	if err != nil {
		return Lookup{}, callError("reading an entry", key.Slot, err)
	}
	value, _ := values[0].(string)
	heads := make([]string, 0, 3)
	for _, head := range values[1:] {
		text, _ := head.(string) // a missing head is nil and stays empty: it matches nothing
		heads = append(heads, text)
	}
	entry, live := decodeLive(value, heads...)
	if !live {
		return Lookup{}, nil
	}
	return Lookup{Hit: true, Payload: entry.payload, Remaining: max(0, time.Until(entry.freshUntil))}, nil
}

// Lease looks for an entry and, on a miss, takes a token to fill it with. Take it before loading.
// Redis counts the hit or miss.
func (r *Registry) Lease(ctx context.Context, key Key) (Lookup, error) {
	reply, err := r.call(ctx, "cw_get", key.Slot, key.Operation, key.ID, key.User)
	if err != nil {
		return Lookup{}, err
	}
	return parseLookup(key.Slot, reply)
}

func parseLookup(slot Slot, reply any) (Lookup, error) {
	fields, _ := reply.([]any)
	if len(fields) >= 2 {
		second, isText := fields[1].(string)
		switch {
		case fields[0] == int64(1) && isText && len(fields) >= 4:
			millis, _ := fields[2].(int64)
			return Lookup{Hit: true, Payload: []byte(second), Remaining: max(0, milliseconds(millis))}, nil
		case fields[0] == int64(0) && isText:
			return Lookup{Token: Token(second), Cacheable: Token(second) != noLease}, nil
		}
	}
	return Lookup{}, unexpected("cw_get", slot, reply)
}

// Get is Read and, on a miss, Lease.
func (r *Registry) Get(ctx context.Context, key Key) (Lookup, error) {
	lookup, err := r.Read(ctx, key)
	if err != nil || lookup.Hit {
		return lookup, err
	}
	return r.Lease(ctx, key)
}

// Outcome says what became of a fill.
type Outcome int

const (
	// Stored: the entry is in place.
	Stored Outcome = iota + 1
	// Disabled: the policy does not cache the operation, or there is no policy.
	Disabled
	// Fenced: an invalidation covered the entry after the token was taken.
	Fenced
	// Refused: the payload is larger than the policy allows, or the operation's entries must
	// belong to a user and this one does not.
	Refused
)

// String returns the outcome in lower case.
func (o Outcome) String() string {
	switch o {
	case Stored:
		return "stored"
	case Disabled:
		return "disabled"
	case Fenced:
		return "fenced"
	case Refused:
		return "refused"
	default:
		return fmt.Sprintf("outcome %d", int(o))
	}
}

// Filled is the answer to a fill.
type Filled struct {
	Outcome Outcome
	// TTL that the policy gave a stored entry.
	TTL time.Duration
}

// Set stores a payload, if no invalidation covered the entry since the token was taken. TTL, jitter
// and limits come from the policy in Redis.
func (r *Registry) Set(ctx context.Context, key Key, payload []byte, token Token) (Filled, error) {
	reply, err := r.call(ctx, "cw_set", key.Slot, key.Operation, key.ID, key.User, payload, string(token))
	if err != nil {
		return Filled{}, err
	}
	code, ok := reply.(int64)
	switch {
	case !ok || code < -2:
		return Filled{}, unexpected("cw_set", key.Slot, reply)
	case code == 0:
		return Filled{Outcome: Disabled}, nil
	case code == -1:
		return Filled{Outcome: Fenced}, nil
	case code == -2:
		return Filled{Outcome: Refused}, nil
	default:
		return Filled{Outcome: Stored, TTL: milliseconds(code)}, nil
	}
}

// Delete removes one entry and fences loads of it that are under way. It says whether a live entry
// was there.
func (r *Registry) Delete(ctx context.Context, key Key) (bool, error) {
	reply, err := r.call(ctx, "cw_delete", key.Slot, key.Operation, key.ID, key.User)
	return reply == int64(1), err
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
