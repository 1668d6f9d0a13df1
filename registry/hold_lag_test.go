// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"testing"
	"time"
)

// lagging has a lag of a minute, a longer one of "slow", and none of "fast".
func lagging() Policy {
	return Policy{DefaultTTL: new(time.Hour), SourceLag: time.Minute, Operations: []OperationPolicy{
		{Name: "slow", TTL: time.Hour, SourceLag: new(5 * time.Minute)}, {Name: "fast", TTL: time.Hour, SourceLag: new(time.Duration(0))},
	}}
}

func TestInvalidationsLeaveMarksWhileTheSourceLags(t *testing.T) {
	r, client := newRegistry(t)
	list, slow, fast := entry("list", "a", "u"), entry("slow", "a", "u"), entry("fast", "a", "u")
	const minute, longest, none = time.Minute, 5 * time.Minute, 0
	purge := func(operation, user string) func() {
		return func() { invalidate(t, r, users, Scope{Operation: operation, User: user}) }
	}
	removal := func(key Key) func() {
		return func() {
			if live, err := r.Delete(t.Context(), key); err != nil || !live {
				t.Errorf("deleting %q: %v, %v", key, live, err)
			}
		}
	}
	released := func(target HoldTarget) func() {
		return func() {
			id := NewHoldID()
			hold(t, r, id, 9*time.Minute, target)
			releaseHold(t, r, id, target)
		}
	}
	policied := func(change func(*Policy)) func() {
		return func() {
			policy := lagging()
			change(&policy)
			apply(t, r, users, policy)
		}
	}
	for name, test := range map[string]struct {
		do   func()
		held map[Key]time.Duration
	}{
		"module":                     {purge("", ""), map[Key]time.Duration{list: minute, slow: longest, fast: minute}},
		"operation":                  {purge("list", ""), map[Key]time.Duration{list: minute, slow: none, fast: none}},
		"slow operation":             {purge("slow", ""), map[Key]time.Duration{list: none, slow: longest, fast: none}},
		"operation without lag":      {purge("fast", ""), map[Key]time.Duration{list: none, slow: none, fast: none}},
		"user":                       {purge("", "u"), map[Key]time.Duration{list: longest, slow: longest, fast: longest}},
		"operation of a user":        {purge("list", "u"), map[Key]time.Duration{list: minute, slow: minute, fast: minute}},
		"without lag, of a user":     {purge("fast", "u"), map[Key]time.Duration{list: none, slow: none, fast: none}},
		"entry":                      {removal(slow), map[Key]time.Duration{list: none, slow: longest, fast: none}},
		"entry without lag":          {removal(fast), map[Key]time.Duration{list: none, slow: none, fast: none}},
		"release of an entry":        {released(HoldEntry(list)), map[Key]time.Duration{list: minute, slow: none, fast: none}},
		"release of an operation":    {released(HoldScope(Scope{Operation: "slow"})), map[Key]time.Duration{list: none, slow: longest, fast: none}},
		"release of a user":          {released(HoldScope(Scope{User: "u"})), map[Key]time.Duration{list: longest, slow: longest, fast: longest}},
		"release of the module":      {released(HoldScope(Scope{})), map[Key]time.Duration{list: minute, slow: longest, fast: minute}},
		"revision":                   {policied(func(p *Policy) { p.Revision = "2" }), map[Key]time.Duration{list: minute, slow: longest, fast: minute}},
		"revision that brings a lag": {policied(func(p *Policy) { p.Revision, p.SourceLag = "2", longest }), map[Key]time.Duration{list: longest, slow: longest, fast: longest}},
		"a policy that is no more":   {policied(func(p *Policy) { p.Operations = p.Operations[1:] }), map[Key]time.Duration{list: none, slow: none, fast: none}},
		"eviction":                   {func() { client.Del(t.Context(), keyOf(users)+":m") }, map[Key]time.Duration{list: none, slow: none, fast: none}},
		"soft":                       {func() { softly(t, r, Scope{}) }, map[Key]time.Duration{list: none, slow: none, fast: none}},
		"dry":                        {func() { dryly(t, r, Scope{Operation: "list", User: "u"}, 3) }, map[Key]time.Duration{list: none, slow: none, fast: none}},
	} {
		t.Run(name, func(t *testing.T) {
			client.FlushDB(t.Context())
			apply(t, r, users, lagging())
			fillAll(t, r, list, slow, fast)
			test.do()
			for key, want := range test.held {
				lookup := lease(t, r, key)
				if lookup.Held > want || lookup.Held < want-20*time.Second || (lookup.Held == 0) != (want == 0) {
					t.Errorf("%s is held for %s, want %s", key.Operation, lookup.Held, want)
				}
			}
		})
	}
}

func dryly(t *testing.T, r *Registry, scope Scope, want int64) {
	t.Helper()
	if counted, err := r.Invalidate(t.Context(), users, scope, ModeDry, ""); err != nil || counted.Keys != want {
		t.Errorf("a dry run counts %d (%v), want %d", counted.Keys, err, want)
	}
}

// An operation that is cached again soon after it was not.
func TestAnOperationThatIsNotCachedForAMomentLags(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, lagging())
	fillAll(t, r, entry("slow", "a", ""))
	without := lagging()
	without.Operations[0].TTL = 0
	apply(t, r, users, without)
	apply(t, r, users, lagging())
	if lookup := lease(t, r, entry("slow", "a", "")); lookup.Held <= 4*time.Minute {
		t.Errorf("it is held for %s", lookup.Held)
	}
}

// A lag neither ends a hold nor is ended by one.
func TestALagAndAHoldOfOneThing(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, lagging())
	target, key := HoldScope(Scope{Operation: "list"}), markKeys["operation"]
	id := NewHoldID()
	hold(t, r, id, 20*time.Second, target)
	invalidate(t, r, users, Scope{Operation: "list"})
	wantTTL(t, client, key, time.Minute)
	if held := hold(t, r, id, 5*time.Minute, target); held.Stood != 1 {
		t.Errorf("the lag ended the hold: %+v", held)
	}
	invalidate(t, r, users, Scope{Operation: "list"})
	wantTTL(t, client, key, 5*time.Minute)
	if lifted := releaseHold(t, r, id, target); lifted != 1 {
		t.Errorf("lifted %d", lifted)
	}
	wantTTL(t, client, key, time.Minute)
}
