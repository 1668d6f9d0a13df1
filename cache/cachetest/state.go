// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest

import (
	"slices"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// The methods below require f.mu.

func (f *Fake) tokenOf(key entryKey) token {
	return token{hard: marksOf(f.epochs, key), soft: marksOf(f.softEpochs, key)}
}

// live returns an entry that can be read, and whether it is stale.
func (f *Fake) live(key entryKey) (e entry, stale, ok bool) {
	e, ok = f.entries[key]
	now, current := f.now(), f.tokenOf(key)
	stale = e.token.soft != current.soft || !now.Before(e.fresh)
	return e, stale, ok && e.token.hard == current.hard && now.Before(e.expires)
}

func (f *Fake) remove(key entryKey) {
	delete(f.entries, key)
	f.epochs[scope(key)]++
}

// lifetimes returns until when an entry is fresh, and until when it exists. A TTL that the loader
// asked for only shortens.
func (f *Fake) lifetimes(ttl, stale, wanted time.Duration) (fresh, expires time.Time) {
	if wanted > 0 && wanted <= ttl {
		ttl, stale = wanted.Truncate(time.Millisecond), 0
	}
	fresh = f.now().Add(ttl)
	return fresh, fresh.Add(stale)
}

// storeNegative stores that the source has nothing, and reports whether the policy allows that.
func (f *Fake) storeNegative(key entryKey, t token, wanted time.Duration) bool {
	rule := f.rule(key.module, key.operation)
	if rule.TTL <= 0 || rule.NegativeTTL <= 0 || rule.Scope == registry.ScopeUser && key.user == "" {
		return false
	}
	if t == f.tokenOf(key) {
		end, _ := f.lifetimes(rule.NegativeTTL, 0, wanted)
		f.entries[key] = entry{
			negative: true, schema: f.schemaOf(key), fresh: end, expires: end, token: t,
		}
	}
	return true
}

// store stores an entry. It returns cache.ErrRefused if the policy forbids the entry. wanted is the
// TTL that the loader asked for; 0: none.
func (f *Fake) store(key entryKey, payload []byte, t token, wanted time.Duration) error {
	rule := f.rule(key.module, key.operation)
	if err := f.refuse(key, payload); err != nil {
		return err
	}
	if rule.TTL > 0 && t == f.tokenOf(key) {
		fresh, expires := f.lifetimes(rule.TTL, rule.StaleFor, wanted)
		f.entries[key] = entry{
			payload: payload, schema: f.schemaOf(key), token: t, fresh: fresh, expires: expires,
		}
	}
	return nil
}

// refuse returns cache.ErrRefused if the policy forbids an entry.
func (f *Fake) refuse(key entryKey, payload []byte) error {
	rule := f.rule(key.module, key.operation)
	switch {
	case rule.TTL <= 0:
		return nil
	case rule.Scope == registry.ScopeUser && key.user == "":
		return refusal(key, "it has no user although the operation's scope is User")
	case rule.MaxEntryBytes > 0 && int64(len(payload)) > rule.MaxEntryBytes:
		return refusal(key, "it is larger than maxEntryBytes allows")
	default:
		return nil
	}
}

// count adds to the counts of an operation, if that is cached.
func (f *Fake) count(key entryKey, more counts) {
	if f.rule(key.module, key.operation).TTL <= 0 {
		return
	}
	operation := operationKey{key.module, key.operation}
	c := f.counts[operation]
	c.hits += more.hits
	c.misses += more.misses
	c.heldReads += more.heldReads
	c.stale += more.stale
	c.errors += more.errors
	f.counts[operation] = c
}

func (f *Fake) rule(module, operation string) registry.OperationPolicy {
	policy, known := f.policies[module]
	if !known {
		return registry.OperationPolicy{TTL: f.ttl}
	}
	return ruleFor(policy, operation)
}

func ruleFor(policy registry.Policy, operation string) registry.OperationPolicy {
	for _, o := range policy.Operations {
		if o.Name == operation {
			return o
		}
	}
	return registry.OperationPolicy{TTL: policy.TTL(operation)}
}

// heldFor returns for how long a hold covers a place, 0 if none does.
func (f *Fake) heldFor(place scope) time.Duration {
	var longest time.Duration
	for _, end := range f.held[place] {
		longest = max(longest, end.Sub(f.now()))
	}
	return longest
}

// isHeld reports whether a hold forbids to store an entry.
func (f *Fake) isHeld(key entryKey) bool {
	places := []scope{{module: key.module}, {module: key.module, operation: key.operation}, scope(key)}
	if key.user != "" {
		places = append(places, scope{module: key.module, user: key.user})
	}
	return slices.ContainsFunc(places, func(place scope) bool { return f.heldFor(place) > 0 })
}
