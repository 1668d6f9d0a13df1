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
	"github.com/cachewright/cachewright/cache/internal/operations"
	"github.com/cachewright/cachewright/cache/internal/schema"
	"github.com/cachewright/cachewright/registry"
)

// DefaultTTL is long enough for most tests: see WithDefaultTTL.
const DefaultTTL = 5 * time.Minute

const defaultSharedLoadWait = time.Minute

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
	held       map[scope]map[*hold]time.Time
	refreshing map[entryKey]bool
}

// Option changes how a Fake works.
type Option func(*Fake)

// New returns an empty Fake.
func New(opts ...Option) *Fake {
	f := &Fake{state: &state{
		codec:     cache.JSON{},
		now:       time.Now,
		policies:  make(map[string]registry.Policy),
		revisions: make(map[string]string),
		modules:   make(map[string]bool),
		entries:   make(map[entryKey]entry),
		counts:    make(map[operationKey]counts),

		epochs:     make(map[scope]int),
		softEpochs: make(map[scope]int),
		held:       make(map[scope]map[*hold]time.Time),
		refreshing: make(map[entryKey]bool),
	}}
	f.flights.MaxWait = defaultSharedLoadWait
	for _, option := range opts {
		option(f)
	}
	f.encoder = codec.NewEncoder(f.codec, 1)
	f.trailing = flight.NewTrailing[flightKey, loaded](f.flights.MaxWait, nil)
	return f
}

// WithClock makes entries expire by another clock than the machine's.
func WithClock(now func() time.Time) Option { return func(f *Fake) { f.now = now } }

// WithDefaultTTL caches every operation of modules without a policy for a time, such as DefaultTTL.
// Default: they are not cached, as in production.
func WithDefaultTTL(ttl time.Duration) Option { return func(f *Fake) { f.ttl = ttl } }

// WithCodec is cache.WithCodec. Default: JSON. The Fake decodes each value that it stores, so that
// a test finds all that do not survive. See cache.Codec.
func WithCodec(c cache.Codec) Option { return func(f *Fake) { f.codec = c } }

// WithSharedLoadWait is cache.WithSharedLoadWait, by the machine's clock. Default 1m.
func WithSharedLoadWait(d time.Duration) Option { return func(f *Fake) { f.flights.MaxWait = d } }

// WithSchema returns the same cache as an application sees it that has this cache.WithSchema. So a
// test can let two versions of an application use it. It panics if cache.New would fail.
func (f *Fake) WithSchema(name string, named ...cache.Operation) *Fake {
	rule := schema.Rule{Schema: name}
	for _, o := range named {
		rule.Operations = append(rule.Operations, operations.Operation(o))
	}
	rules := append(slices.Clone(f.schemas), rule)
	if err := rules.Check(); err != nil {
		panic(err)
	}
	return &Fake{state: f.state, schemas: rules}
}

// schemaOf returns the schema of this application's values.
func (f *Fake) schemaOf(key entryKey) string { return f.schemas.Of(key.module, key.operation) }

// Call is one call of a method of Cache, of Holder or of Hold.
type Call struct {
	// Method is the name of the method, such as "InvalidateUser".
	Method string
	// Module, Operation, Params and User are the arguments, or fields of the given scope. They are
	// empty if the method has none.
	Module    string
	Operation string
	Params    any
	User      string
	// Modules are the arguments of InvalidateUser or Stats.
	Modules []string
	// Covered are the arguments of Hold, also for Renew and Release.
	Covered []cache.Covered
}

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

// SetPolicy puts a policy in force for a module, as the CachePolicy resource does. Entries that it
// does not allow are removed, those that live too long are shortened, and a changed revision purges
// the module. Removing the revision purges nothing, and neither does setting the same one again.
func (f *Fake) SetPolicy(module string, policy registry.Policy) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.modules[module] = true
	before, known := f.policies[module]
	f.policies[module] = policy
	if policy.Revision != "" && policy.Revision != f.revisions[module] {
		f.revisions[module] = policy.Revision
		f.epochs[scope{module: module}]++
	}
	changed := map[string]bool{}
	for key, e := range f.entries {
		if key.module != module {
			continue
		}
		if !changed[key.operation] {
			changed[key.operation] = true
			f.change(key, ruleFor(before, key.operation), known)
		}
		f.shorten(key, e)
	}
}

// change invalidates an operation if its new rule requires that, as docs/protocol.md says. It
// requires f.mu.
func (f *Fake) change(key entryKey, before registry.OperationPolicy, known bool) {
	rule, operation := f.rule(key.module, key.operation),
		scope{module: key.module, operation: key.operation}
	narrowed := rule.Scope == registry.ScopeUser && (!known || before.Scope != registry.ScopeUser)
	switch {
	case rule.TTL <= 0 || narrowed:
		f.epochs[operation]++
	case rule.TTL < before.TTL && rule.TTL+rule.StaleFor >= before.TTL+before.StaleFor:
		f.softEpochs[operation]++ // the entries live as long as before, but are fresh for less time
	}
}

// shorten bounds the life of an entry by its rule. It requires f.mu.
func (f *Fake) shorten(key entryKey, e entry) {
	rule, now := f.rule(key.module, key.operation), f.now()
	fresh, life := rule.TTL, rule.TTL+rule.StaleFor
	if e.negative {
		fresh, life = rule.NegativeTTL, rule.NegativeTTL
	}
	e.fresh = earlier(e.fresh, now.Add(fresh))
	e.expires = earlier(e.expires, now.Add(life))
	f.entries[key] = e
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
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

func keyCall(method string, key cache.Key) Call {
	return Call{
		Method: method, Module: key.Module, Operation: key.Operation, Params: key.Params, User: key.User,
	}
}
