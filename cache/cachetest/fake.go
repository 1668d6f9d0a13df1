// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cachetest has a Cache in memory for the tests of applications.
//
// The Fake keeps to the contract of cache.Cache as the client over Redis does; one suite of tests
// runs against both. It needs no Redis, starts no goroutine that outlives a call, and its time can be
// turned forward. Where Fetch returns a stale value, the entry has been refreshed by then, if it could be.
package cachetest

import (
	"slices"
	"sync"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/internal/flight"
	"github.com/cachewright/cachewright/registry"
)

// DefaultTTL is that of every operation of a module without a policy.
const DefaultTTL = 5 * time.Minute

const defaultSharedLoadWait = time.Minute

var _ cache.Cache = (*Fake)(nil)

// Fake is a Cache in memory. Make one with New. It is safe for concurrent use.
type Fake struct {
	codec   cache.Codec
	now     func() time.Time
	flights flight.Group[flightKey, loaded]

	mu       sync.Mutex
	failure  error
	calls    []Call
	policies map[string]registry.Policy
	modules  map[string]bool
	entries  map[entryKey]entry
	counts   map[operationKey]counts
	// How often each scope was invalidated.
	epochs     map[scope]int
	softEpochs map[scope]int
	refreshing map[entryKey]bool
}

// Option changes how a Fake works.
type Option func(*Fake)

// New returns an empty Fake.
func New(opts ...Option) *Fake {
	f := &Fake{
		codec:    cache.JSON{},
		now:      time.Now,
		policies: make(map[string]registry.Policy),
		modules:  make(map[string]bool),
		entries:  make(map[entryKey]entry),
		counts:   make(map[operationKey]counts),

		epochs:     make(map[scope]int),
		softEpochs: make(map[scope]int),
		refreshing: make(map[entryKey]bool),
	}
	f.flights.Patience = defaultSharedLoadWait
	for _, option := range opts {
		option(f)
	}
	return f
}

// WithClock makes entries expire by another clock than the machine's.
func WithClock(now func() time.Time) Option { return func(f *Fake) { f.now = now } }

// WithCodec is cache.WithCodec. Default: JSON.
func WithCodec(codec cache.Codec) Option { return func(f *Fake) { f.codec = codec } }

// WithSharedLoadWait is cache.WithSharedLoadWait, by the machine's clock. Default 1m.
func WithSharedLoadWait(d time.Duration) Option { return func(f *Fake) { f.flights.Patience = d } }

// Call is one call of a method of Cache.
type Call struct {
	// Method is its name, such as "InvalidateUser".
	Method string
	// Module, Operation, Params and User as given, or of the scope given; empty where the method has none.
	Module    string
	Operation string
	Params    any
	User      string
	// Modules given to InvalidateUser or Stats.
	Modules []string
}

// Calls returns all calls so far, in order.
func (f *Fake) Calls() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// Fail makes the Fake behave as if Redis failed with err: every method returns it but Fetch, which
// loads. Fail(nil) ends that; invalidations that failed in between, with cache.ErrQueued as well, have
// taken effect then.
func (f *Fake) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failure = err
}

// SetPolicy puts a policy in force for a module, as the CachePolicy resource does: entries that it
// does not allow go, those that live too long are shortened, and a changed revision purges.
func (f *Fake) SetPolicy(module string, policy registry.Policy) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.modules[module] = true
	before, known := f.policies[module]
	f.policies[module] = policy
	if known && policy.Revision != "" && policy.Revision != before.Revision {
		f.epochs[scope{module: module}]++
	}
	now := f.now()
	for key, e := range f.entries {
		if key.module != module {
			continue
		}
		rule := ruleFor(policy, key.operation)
		if rule.TTL <= 0 || (rule.Scope == registry.ScopeUser && key.user == "") {
			delete(f.entries, key)
			continue
		}
		e.fresh = earlier(e.fresh, now.Add(rule.TTL))
		e.expires = earlier(e.expires, now.Add(rule.TTL+rule.StaleFor))
		f.entries[key] = e
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// record notes a call and returns the failure that the Fake is to show.
func (f *Fake) record(call Call) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call)
	return f.failure
}

func keyCall(method string, key cache.Key) Call {
	return Call{Method: method, Module: key.Module, Operation: key.Operation, Params: key.Params, User: key.User}
}
