// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest

import (
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/registry"
)

type operationKey struct{ module, operation string }

type entryKey struct{ module, operation, id, user string }

// scope is what an invalidation covers: a module, an operation or a user of it, or, with an id, one
// entry.
type scope struct{ module, operation, id, user string }

// token is how often each scope that covers an entry was invalidated. Equal tokens: not since.
type token struct{ module, operation, user, entry int }

type entry struct {
	payload []byte
	expires time.Time
	token   token
}

type counts struct{ hits, misses, errors int64 }

func newEntryKey(key cache.Key) (entryKey, error) {
	id, err := cache.ID(key.Params)
	return entryKey{module: key.Module, operation: key.Operation, id: id, user: key.User}, err
}

// The methods below require f.mu.

func (f *Fake) tokenOf(key entryKey) token {
	t := token{
		module:    f.epochs[scope{module: key.module}],
		operation: f.epochs[scope{module: key.module, operation: key.operation}],
		entry:     f.epochs[scope(key)],
	}
	if key.user != "" {
		t.user = f.epochs[scope{module: key.module, user: key.user}]
	}
	return t
}

func (f *Fake) live(key entryKey) (entry, bool) {
	e, ok := f.entries[key]
	return e, ok && e.token == f.tokenOf(key) && f.now().Before(e.expires)
}

func (f *Fake) remove(key entryKey) {
	delete(f.entries, key)
	f.epochs[scope(key)]++
}

// store returns cache.ErrRefused where the policy forbids the entry.
func (f *Fake) store(key entryKey, payload []byte, t token) error {
	rule := f.rule(key.module, key.operation)
	switch {
	case rule.TTL <= 0:
		return nil
	case rule.Scope == registry.ScopeUser && key.user == "":
		return refusal(key, "it has no user although the operation's scope is User")
	case rule.MaxEntryBytes > 0 && int64(len(payload)) > rule.MaxEntryBytes:
		return refusal(key, "it is larger than maxEntryBytes allows")
	case t == f.tokenOf(key):
		f.entries[key] = entry{payload: payload, expires: f.now().Add(rule.TTL), token: t}
	}
	return nil
}

func (f *Fake) rule(module, operation string) registry.OperationPolicy {
	policy, known := f.policies[module]
	if !known {
		return registry.OperationPolicy{TTL: DefaultTTL}
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

// count adds to the figures of an operation that is cached; others have none.
func (f *Fake) count(key entryKey, more counts) {
	if f.rule(key.module, key.operation).TTL <= 0 {
		return
	}
	operation := operationKey{key.module, key.operation}
	c := f.counts[operation]
	c.hits += more.hits
	c.misses += more.misses
	c.errors += more.errors
	f.counts[operation] = c
}
