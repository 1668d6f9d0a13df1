// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"time"
)

// Token holds the heads that were in place when a load began. It fences the fill: after an
// invalidation that covers the entry, the token is void. Opaque; ASCII.
type Token string

// noLease is the token of an entry that is held, or of an operation that is not cached.
const noLease Token = "0"

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
	// reload it. Read takes none.
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
	return r.lease(ctx, key)
}

// LeaseLocked is Lease that also takes the load lock of the entry on a miss, so that one process
// loads while others wait.
// It takes the lock for up to the given time, at most 10 minutes. If another caller has it, Wait
// says for how long. A fill, or Unlock, releases it.
func (r *Registry) LeaseLocked(ctx context.Context, key Key, lock time.Duration) (Lookup, error) {
	return r.lease(ctx, key, wholeMilliseconds(lock))
}

func (r *Registry) lease(ctx context.Context, key Key, lock ...any) (Lookup, error) {
	args := append([]any{key.Operation, key.ID, key.User}, lock...)
	reply, err := r.callTogether(ctx, "cw_get", key.Slot, args...)
	if err != nil {
		return Lookup{}, err
	}
	lookup, ok := parseLookup(reply)
	if !ok {
		return Lookup{}, unexpected("cw_get", key.Slot, reply)
	}
	return lookup, nil
}

// Unlock releases a load lock after a failed load.
func (r *Registry) Unlock(ctx context.Context, key Key) error {
	_, err := r.callTogether(ctx, "cw_unlock", key.Slot, key.Operation, key.ID, key.User)
	return err
}

// The first field of replies of cw_get.
const (
	replyMiss     = int64(0)
	replyHit      = int64(1)
	replyNegative = int64(2)
)

func parseLookup(reply any) (Lookup, bool) {
	fields, _ := reply.([]any)
	if len(fields) < 2 {
		return Lookup{}, false
	}
	text, isText := fields[1].(string)
	switch {
	case !isText:
		return Lookup{}, false
	case fields[0] == replyMiss:
		lookup := Lookup{Token: Token(text), Cacheable: Token(text) != noLease}
		if len(fields) > 2 {
			wait, _ := fields[2].(int64)
			lookup.Wait = boundedMilliseconds(wait)
		}
		if len(fields) > 3 {
			held, _ := fields[3].(int64)
			lookup.Held = boundedMilliseconds(held)
		}
		return lookup, true
	case len(fields) >= 4 && (fields[0] == replyHit || fields[0] == replyNegative):
		remaining, _ := fields[2].(int64)
		lookup := Lookup{
			Hit:       true,
			Payload:   []byte(text),
			Negative:  fields[0] == replyNegative,
			Stale:     fields[3] == int64(1),
			Remaining: boundedMilliseconds(remaining),
		}
		if len(fields) > 4 {
			token, _ := fields[4].(string)
			lookup.Token, lookup.Cacheable = Token(token), true
		}
		return lookup, true
	default:
		return Lookup{}, false
	}
}

// Get is Read and, on a miss or a stale hit, Lease.
func (r *Registry) Get(ctx context.Context, key Key) (Lookup, error) {
	lookup, err := r.Read(ctx, key)
	if err != nil || lookup.Hit && !lookup.Stale {
		return lookup, err
	}
	return r.Lease(ctx, key)
}

// Outcome is the result of a fill.
type Outcome int

const (
	// Stored: the entry is in Redis.
	Stored Outcome = iota + 1
	// Disabled: the policy does not cache the operation, or there is no policy.
	Disabled
	// Fenced: an invalidation covered the entry after the token was taken.
	Fenced
	// Refused: the payload is larger than the policy allows, or the policy requires a user and the key
	// has none.
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
	// TTL of a stored entry, by the policy.
	TTL time.Duration
}

// Set stores a payload unless an invalidation has covered the entry since the token was taken. TTL,
// jitter and limits come from the policy in Redis.
func (r *Registry) Set(ctx context.Context, key Key, payload []byte, token Token) (Filled, error) {
	return r.set(ctx, key, payload, token, "room")
}

// SetNegative stores that the source has nothing under the key, for the operation's NegativeTTL.
// Without one, the outcome is Disabled. The payload may be empty.
func (r *Registry) SetNegative(
	ctx context.Context, key Key, payload []byte, token Token,
) (Filled, error) {
	return r.set(ctx, key, payload, token, "negative room")
}

func (r *Registry) set(
	ctx context.Context, key Key, payload []byte, token Token, options string,
) (Filled, error) {
	buffer := padded(payload, token)
	if r.pipeline == nil {
		defer release(buffer)
	}
	reply, err := r.callTogether(ctx, "cw_set", key.Slot, key.Operation, key.ID, key.User, *buffer,
		string(token), options)
	if err != nil {
		return Filled{}, err
	}
	code, ok := reply.(int64)
	switch {
	case !ok || code < -2 || code > maxTTL.Milliseconds():
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

// Delete removes one entry and fences loads of it that are in progress. It says whether the entry
// was live.
func (r *Registry) Delete(ctx context.Context, key Key) (bool, error) {
	reply, err := r.call(ctx, "cw_delete", key.Slot, key.Operation, key.ID, key.User)
	return reply == int64(1), err
}
