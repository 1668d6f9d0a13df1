// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest

import (
	"time"

	"github.com/cachewright/cachewright/registry"
)

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
