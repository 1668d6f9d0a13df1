// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package entries

import (
	"context"
	"time"

	"github.com/cachewright/cachewright/cache/internal/codec"
	"github.com/cachewright/cachewright/cache/internal/dest"
	"github.com/cachewright/cachewright/cache/internal/heads"
	"github.com/cachewright/cachewright/cache/internal/loads"
	"github.com/cachewright/cachewright/cache/internal/near"
	"github.com/cachewright/cachewright/cache/internal/operations"
	"github.com/cachewright/cachewright/registry"
)

// asked is what a caller asks for.
type asked struct {
	key Key
	out any
	at  int // where the loader knows it
}

// request is how far the answer to a caller is. The rules of a Fetch are its methods, whether it is
// one or among many.
type request struct {
	asked

	nearKey near.Key
	entry   registry.Key
	stamp   heads.Stamp
	unnamed bool // the params cannot name an entry

	state   state
	lookup  registry.Lookup
	outcome Outcome
	err     error
}

// state is how far a request is.
type state int

const (
	unread    state = iota // Redis must be asked.
	undecoded              // Redis has an entry that is of no use, and must be removed.
	unleased               // Redis has nothing. A lease must be taken.
	missed                 // The value must be loaded. The lookup says how.
	answered               // Outcome and err are what the caller gets.
)

func (r *request) answer(outcome Outcome, err error) {
	r.state, r.err = answered, err
	r.came(outcome)
}

// miss has the value loaded, with a lease if there is one.
func (r *request) miss(outcome Outcome, lookup registry.Lookup) {
	r.state, r.lookup = missed, lookup
	r.came(outcome)
}

// came notes where the answer comes from. What Redis said first counts.
func (r *request) came(outcome Outcome) {
	if r.outcome == "" {
		r.outcome = outcome
	}
}

// begin does what needs no call to Redis.
func (e *Entries) begin(ctx context.Context, r *request, load loader) {
	if err := dest.Check(r.out); err != nil {
		r.answer(Error, err)
		return
	}
	if err := ctx.Err(); err != nil {
		r.answer(Error, err)
		return
	}
	var plain bool
	key := &r.key
	r.nearKey, plain = near.PlainKey(key.Module, key.Operation, key.User, key.Params)
	if plain && e.beginNear(ctx, r, load) {
		return
	}
	var err error
	if r.entry, err = e.KeyOf(*key); err != nil {
		r.unnamed = true
		r.miss(Error, registry.Lookup{})
		return
	}
	if !plain {
		r.nearKey = near.DigestKey(r.entry)
		if e.beginNear(ctx, r, load) {
			return
		}
	}
	if e.config.Outbox.Covers(r.entry) {
		r.miss(Bypass, registry.Lookup{})
		return
	}
	r.stamp = e.config.Near.Stamp(r.entry)
}

// beginNear reports whether the near cache answers.
func (e *Entries) beginNear(ctx context.Context, r *request, load loader) bool {
	found, err := e.fromNear(ctx, &r.asked, r.nearKey, load)
	if found {
		r.answer(NearHit, err)
	}
	return found
}

// fromNear reads the near cache, and has some of its hits audited.
func (e *Entries) fromNear(
	ctx context.Context, a *asked, key near.Key, load loader,
) (found bool, err error) {
	found, err = e.getNear(key, a.out)
	if found && e.config.Auditor.Draws() {
		operation := operations.Operation{Module: a.key.Module, Name: a.key.Operation}
		e.config.Auditor.NearHit(ctx, operation, key, a.out, load.at(a.at))
	}
	return found, err
}

// read takes what Redis has of an entry. A hit serves the caller if out can hold it.
func (e *Entries) read(r *request, lookup registry.Lookup, err error) {
	r.lookup = lookup
	switch {
	case err != nil:
		r.miss(Error, registry.Lookup{})
	case !lookup.Hit && e.needsNoLease(r.entry, lookup):
		lookup.Cacheable = true
		r.miss(Miss, lookup)
	case !lookup.Hit:
		r.state = unleased
	case e.use(r.entry, lookup, r.out):
		r.answer(outcomeOfHit(lookup), errorOf(lookup))
	default:
		// This version of the application cannot use it. Only an entry that is gone can be leased.
		r.state = undecoded
	}
}

// needsNoLease reports whether a load may begin with the token of the read, if there is one. It
// may if it is so quick that other processes do not gain by waiting for it.
func (e *Entries) needsNoLease(key registry.Key, miss registry.Lookup) bool {
	return miss.Token.Unleased() && !e.config.Loads.NeedLock(key.Module, key.Operation) &&
		e.config.Gateway.Unleased(key.Module)
}

// removed goes on once an entry that is of no use was removed.
func (r *request) removed(err error) {
	if err != nil {
		r.miss(Error, registry.Lookup{})
		return
	}
	r.state = unleased
}

// leased takes the answer to a lease: usually a miss with a token. A hit was stored meanwhile.
func (e *Entries) leased(r *request, lookup registry.Lookup, err error) {
	switch {
	case err != nil:
		r.miss(Error, registry.Lookup{})
	case !lookup.Hit:
		r.miss(outcomeOfMiss(lookup), lookup)
	case e.use(r.entry, lookup, r.out):
		r.lookup = lookup
		r.answer(outcomeOfHit(lookup), errorOf(lookup))
	default:
		r.miss(Error, registry.Lookup{})
	}
}

// served does what follows when Redis has answered a request: it audits the hit, and keeps it in
// the near cache.
func (e *Entries) served(ctx context.Context, r *request, load loader) {
	e.putNear(r.nearKey, r.entry, r.out, r.lookup, r.stamp)
	if e.config.Auditor.Draws() {
		e.config.Auditor.Hit(ctx, r.entry, r.lookup, r.out, load.at(r.at))
	}
}

// missOf returns what is to be loaded for a request.
func (r *request) missOf(remaining time.Duration) *loads.Miss {
	return &loads.Miss{
		Key: r.entry, Unnamed: r.unnamed, Lookup: r.lookup, Remaining: remaining, At: r.at, Out: r.out,
	}
}

// use reports whether a hit serves the caller: out holds its value, or it is negative.
func (e *Entries) use(key registry.Key, hit registry.Lookup, out any) bool {
	if hit.Negative {
		return true
	}
	if err := codec.Decode(e.config.Codec, hit.Payload, out); err != nil {
		e.config.Failures.Add(key.Module, key.Operation, err)
		return false
	}
	return true
}
