// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package entries

import (
	"context"
	"errors"
	"time"

	"github.com/cachewright/cachewright/cache/internal/dest"
	"github.com/cachewright/cachewright/cache/internal/flight"
	"github.com/cachewright/cachewright/cache/internal/loads"
	"github.com/cachewright/cachewright/cache/internal/near"
	"github.com/cachewright/cachewright/cache/internal/refresh"
	"github.com/cachewright/cachewright/cache/internal/source"
	"github.com/cachewright/cachewright/registry"
)

// Fetch makes out hold the value of an entry, wherever it comes from.
func (e *Entries) Fetch(
	ctx context.Context, key Key, out any, load source.Load,
) (Outcome, error) {
	asked := asked{key: key, out: out}
	if found, err := e.nearHit(ctx, &asked, loader{single: load}); found {
		return NearHit, err
	}
	requests := newRequests(1)
	defer requests.release()
	r := &(*requests)[0]
	r.asked = asked
	e.fetch(ctx, []*request{r}, loader{single: load})
	return r.outcome, r.err
}

// nearHit answers from the near cache before there is a request, which takes longer to make than
// this answer. It leaves what is wrong, and params that are not plain, to begin.
func (e *Entries) nearHit(ctx context.Context, a *asked, load loader) (found bool, err error) {
	key, plain := near.PlainKey(a.key.Module, a.key.Operation, a.key.User, a.key.Params)
	if isWell := dest.Check(a.out) == nil && ctx.Err() == nil; isWell && plain {
		return e.fromNear(ctx, a, key, load)
	}
	return false, nil
}

// Answer is what a caller gets for one of many entries.
type Answer struct {
	Outcome Outcome
	Err     error
}

// FetchMany does what Fetch does for many entries, with as few calls as it can. The loader knows an
// entry by its position.
func (e *Entries) FetchMany(
	ctx context.Context, outs []any, keyOf func(at int) Key, load source.Many,
) []Answer {
	requests := newRequests(len(outs))
	defer requests.release()
	all := make([]*request, len(outs))
	for i, out := range outs {
		all[i] = &(*requests)[i]
		all[i].asked = asked{keyOf(i), out, i}
	}
	e.fetch(ctx, all, loader{several: load})
	answers := make([]Answer, len(all))
	for i, r := range all {
		answers[i] = Answer{Outcome: r.outcome, Err: r.err}
	}
	return answers
}

// fetch answers requests.
func (e *Entries) fetch(ctx context.Context, all []*request, load loader) {
	for _, r := range all {
		e.begin(ctx, r, load)
	}
	unread := inState(unread, all)
	remaining := e.find(ctx, unread, load)
	for _, r := range unread {
		if r.state == answered {
			e.served(ctx, r, load)
		}
	}
	e.load(ctx, inState(missed, all), remaining, load)
}

// inState returns the requests that are in a state.
func inState(wanted state, requests []*request) []*request {
	var found []*request
	for i, r := range requests {
		switch {
		case r.state == wanted && found == nil:
			found = requests[i : i+1 : i+1] // usually one request is all
		case r.state == wanted:
			found = append(found, r)
		}
	}
	return found
}

// load gets the values of entries that neither the near cache nor Redis has. If the loads of other
// callers take too long, it looks for those entries again, and loads beside these callers.
func (e *Entries) load(
	ctx context.Context, all []*request, remaining time.Duration, load loader,
) {
	overdue := e.loadOnce(ctx, all, remaining, load)
	if len(overdue) == 0 {
		return
	}
	for _, r := range overdue {
		r.state = unread
	}
	remaining = e.find(ctx, overdue, load)
	for _, r := range e.loadOnce(ctx, inState(missed, overdue), remaining, load) {
		r.err = e.config.Loads.Stuck(r.entry)
	}
}

// loadOnce loads entries together with the callers that may have the same values. It returns those
// whose load takes too long to wait for.
func (e *Entries) loadOnce(
	ctx context.Context, all []*request, remaining time.Duration, load loader,
) (overdue []*request) {
	if len(all) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		for _, r := range all {
			r.state, r.outcome, r.err = answered, Error, err
		}
		return nil
	}
	misses := make([]*loads.Miss, len(all))
	for i, r := range all {
		misses[i] = r.missOf(remaining)
	}
	e.config.Loads.Get(ctx, misses, load.many())
	for i, r := range all {
		r.answer(r.outcome, misses[i].Err)
		if errors.Is(r.err, flight.ErrOverdue) {
			overdue = append(overdue, r)
		}
	}
	return overdue
}

// find looks for entries in Redis, with one read of each module and, after misses, one pipeline of
// leases. remaining is how much longer the caller may wait for Redis.
func (e *Entries) find(
	ctx context.Context, unread []*request, load loader,
) (remaining time.Duration) {
	if len(unread) == 0 {
		return 0
	}
	began := time.Now()
	e.readAll(ctx, unread)
	e.countHits(ctx, unread, load)
	e.removeAll(ctx, inState(undecoded, unread), began)
	e.leaseAll(ctx, inState(unleased, unread), began, load)
	return e.config.Timeout - time.Since(began)
}

func (e *Entries) readAll(ctx context.Context, all []*request) {
	if len(all) == 1 {
		lookup, err := e.config.Gateway.Read(ctx, all[0].entry)
		e.read(all[0], lookup, err)
		return
	}
	for i, found := range e.config.Gateway.ReadMany(ctx, entriesOf(all)) {
		if found.Err != nil {
			e.read(all[i], registry.Lookup{}, found.Err)
		} else {
			e.read(all[i], *found.Lookup, nil)
		}
	}
}

func (e *Entries) removeAll(ctx context.Context, all []*request, began time.Time) {
	if len(all) == 0 {
		return
	}
	remaining := e.config.Timeout - time.Since(began)
	for i, err := range e.config.Gateway.RemoveMany(ctx, remaining, entriesOf(all)) {
		all[i].removed(err)
	}
}

func (e *Entries) leaseAll(
	ctx context.Context, all []*request, began time.Time, load loader,
) {
	if len(all) == 0 {
		return
	}
	remaining, keys := e.config.Timeout-time.Since(began), entriesOf(all)
	var stale []refresh.Entry
	for i, found := range e.config.Gateway.LeaseMany(ctx, remaining, keys, e.config.LoadWait) {
		if found.Hit && found.Token != "" {
			stale = append(stale, refresh.Entry{Key: keys[i], Token: found.Token, At: all[i].at})
		}
		e.leased(all[i], found.Lookup, found.Err)
	}
	if len(stale) > 0 {
		e.config.Refresher.Stale(ctx, stale, load.many())
	}
}

func entriesOf(all []*request) []registry.Key {
	keys := make([]registry.Key, len(all))
	for i, r := range all {
		keys[i] = r.entry
	}
	return keys
}
