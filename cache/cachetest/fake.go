// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cachetest has a Cache in memory for the tests of applications.
//
// The Fake obeys the contract of cache.Cache as the client over Redis does: one suite of tests runs
// against both. It needs no Redis, and starts no goroutine that outlives a call. Tests can set its
// clock. When Fetch returns a stale value, it has already tried to refresh the entry.
package cachetest

import (
	"slices"
	"sync"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/internal/codec"
	"github.com/cachewright/cachewright/cache/internal/flight"
	"github.com/cachewright/cachewright/cache/internal/schema"
	"github.com/cachewright/cachewright/registry"
)

var _ cache.Cache = (*Fake)(nil)

// Fake is a Cache in memory. Make one with New, or with FromManifests. It is safe for concurrent
// use. As in Redis, nothing of a module is cached without a policy: set one with SetPolicy, or
// cache all modules with WithDefaultTTL.
type Fake struct {
	*state

	schemas schema.Rules
}

// state is what the versions of an application share.
type state struct {
	codec   cache.Codec
	encoder *codec.Encoder // of the codec
	now     func() time.Time
	ttl     time.Duration // of modules without a policy
	flights flight.Group[flightKey, loaded]
	// trailing are the loads of what is held.
	trailing *flight.Trailing[flightKey, loaded]
	strict   *strict // nil: names need not be listed

	mu       sync.Mutex
	failure  error
	calls    []Call
	policies map[string]registry.Policy
	// revisions has the last revision of each module that was not empty.
	revisions map[string]string
	modules   map[string]bool
	entries   map[entryKey]entry
	counts    map[operationKey]counts
	// epochs and softEpochs say how often each scope was invalidated, hard and softly.
	epochs     map[scope]int
	softEpochs map[scope]int
	// held says until when each hold covers a scope.
	held       map[scope]map[holdID]time.Time
	holds      holdID // the last one
	refreshing map[entryKey]bool
}

// schemaOf returns the schema of this application's values.
func (f *Fake) schemaOf(key entryKey) string { return f.schemas.Of(key.module, key.operation) }

// Calls returns all calls so far, in order.
func (f *Fake) Calls() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// Fail makes the Fake behave as if Redis failed with err. Every method returns err, except Fetch,
// which loads. Fail(nil) ends that. Invalidations that failed meanwhile return cache.ErrQueued as
// well, and have taken effect by then.
func (f *Fake) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failure = err
}

// record records a call and returns the failure that the Fake must return.
func (f *Fake) record(call Call) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call)
	if f.strict != nil {
		f.strict.check(call, f.policies)
	}
	return f.failure
}
