// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// callsUnderAMark are calls of each function, which must leave a mark alone. Those of a token have
// {token} in its place: one that was taken just before the hold.
var callsUnderAMark = map[string][][]any{
	"cw_get":    {{"list", "a", "u"}, {"list", "a", "u", 60_000}, {"list", "b", "u"}, {"other", "x", ""}},
	"cw_set":    {{"list", "a", "u", "x", "{token}"}, {"list", "a", "u", "x", "0"}, {"list", "b", "u", "x", "{token}"}},
	"cw_unlock": {{"list", "a", "u"}},
	"cw_delete": {{"list", "a", "u"}, {"list", "b", "u"}},
	"cw_invalidate": {
		{"", "", "hard", ""},
		{"", "", "soft", ""},
		{"", "", "dry", ""},
		{"list", "", "hard", ""},
		{"list", "", "soft", ""},
		{"", "u", "hard", ""},
		{"", "u", "soft", ""},
		{"list", "u", "hard", ""},
		{"list", "u", "soft", ""},
		{"", "", "hard", "r"},
	},
	"cw_reclaim": {{200}},
	"cw_fence":   {{"check"}, {}, {}},
	"cw_put":     {{"list", "a", "u", "x"}, {"list", "b", "u", "x"}, {"other", "x", "", "x"}, {"list", "a", "u", "x", "ttl 5000"}},
	// Another holder comes and goes.
	"cw_hold": {}, "cw_release": {},
	"cw_policy_apply": {
		{`{"defaultTtlMs":600000}`},
		{`{"defaultTtlMs":600000,"revision":"2"}`},
		{`{"defaultTtlMs":1000}`},
		{`{}`},
		{`{"operations":[{"name":"list","ttlMs":0}]}`},
		{`{"operations":[{"name":"list","ttlMs":600000,"scope":"User"}]}`},
		{`{"operations":[{"name":"list","ttlMs":1000,"staleForMs":600000}]}`},
		{`{"operations":[{"name":"list","ttlMs":2592000000}]}`},
	},
	"cw_policy_hash":   {{}},
	"cw_policy_get":    {{}},
	"cw_policy_own":    {{"me"}},
	"cw_policy_delete": {{}, {"me"}},
	"cw_report":        {{"list", "hits", 1}},
	"cw_stats":         {{}},
	// They take no key of a slot.
	"cw_version": {}, "cw_writable": {}, "cw_unclaimed": {},
}

var registered = regexp.MustCompile(`(?m)^register\('(\w+)'`)

func TestNoCallButHoldAndReleaseTouchesAMark(t *testing.T) {
	r, client := newRegistry(t)
	for _, function := range registered.FindAllStringSubmatch(Library, -1) {
		calls, known := callsUnderAMark[function[1]]
		if !known {
			t.Errorf("%s is not among the calls of this test", function[1])
		}
		for _, args := range calls {
			for name, target := range holdTargets {
				client.FlushDB(t.Context())
				token := fillAndInvalidate(t, r)
				hold(t, r, NewHoldID(), time.Minute, target)
				wantSameMark(t, client, markKeys[name], fmt.Sprintf("%s %q, mark of: %s", function[1], args, name), func() {
					with := slices.Clone(args)
					if i := slices.Index(with, any("{token}")); i >= 0 {
						with[i] = string(token)
					}
					if _, err := r.library.Call(t.Context(), function[1], users, with...); err != nil && !errors.Is(err, redis.Nil) {
						t.Errorf("%s %q: %v", function[1], with, err)
					}
					reclaimAll(t, r, users)
				})
			}
		}
	}
	if len(callsUnderAMark) != len(registered.FindAllString(Library, -1)) {
		t.Error("the test names functions that the library does not have")
	}
}

// fillAndInvalidate leaves "list a" of user "u" in indexes that wait for reclaim and in those in use.
// It returns a token of another entry.
func fillAndInvalidate(t *testing.T, r *Registry) Token {
	t.Helper()
	apply(t, r, users, caching())
	fillAll(t, r, entry("list", "a", "u"))
	fillMany(t, r, "list", "u", 150)
	invalidate(t, r, users, Scope{Operation: "list"})
	fillAll(t, r, entry("list", "a", "u"))
	fillMany(t, r, "list", "u", 150)
	invalidate(t, r, users, Scope{User: "u"})
	fillAll(t, r, entry("list", "a", "u"), entry("list", "c", "u"), entry("other", "c", ""))
	return lease(t, r, entry("list", "b", "u")).Token
}

func wantSameMark(t *testing.T, client *redis.Client, key, what string, do func()) {
	t.Helper()
	before, life := client.Get(t.Context(), key).Val(), client.PTTL(t.Context(), key).Val()
	if !isMark(before) {
		t.Fatalf("%s: there is %q, not a mark", what, before)
	}
	do()
	after, left := client.Get(t.Context(), key).Val(), client.PTTL(t.Context(), key).Val()
	if after != before || left > life || left < life-20*time.Second {
		t.Errorf("%s: it was %q for %s, is %q for %s", what, before, life, after, left)
	}
}

// A mark that stays while others of its kind come and go.
func TestHoldAndReleaseLeaveOtherMarksAlone(t *testing.T) {
	r, client := newRegistry(t)
	for name, target := range holdTargets {
		for other, too := range holdTargets {
			if markKeys[name] == markKeys[other] {
				continue
			}
			client.FlushDB(t.Context())
			fillAndInvalidate(t, r)
			hold(t, r, NewHoldID(), time.Minute, target)
			wantSameMark(t, client, markKeys[name], name+" and "+other, func() {
				id := NewHoldID()
				hold(t, r, id, 5*time.Minute, too)
				releaseHold(t, r, id, too)
				releaseHold(t, r, id, too)
				reclaimAll(t, r, users)
			})
		}
	}
}

// Anyone who finds "!!" gets no token, even if it is not a mark. None of that stands forever.
func TestMarksThatOthersWrote(t *testing.T) {
	r, client := newRegistry(t)
	for _, value := range []string{"!!", "!!" + strings.Repeat("x", 9), "!!" + strings.Repeat("x", 20), "!!" + strings.Repeat("x", 31), "!!" + strings.Repeat("x", 24), "!!" + strings.Repeat("x", 2000)} {
		for name, target := range holdTargets {
			client.FlushDB(t.Context())
			apply(t, r, users, caching())
			fillAll(t, r, entry("list", "a", "u"))
			write := func() { client.Set(t.Context(), markKeys[name], value, 0) }
			write()
			for range 2 {
				if lookup := lease(t, r, entry("list", "a", "u")); lookup.Token != noLease || lookup.Held <= 0 || lookup.Held > MaxHold {
					t.Errorf("%s, %.40q: a lease is %+v", name, value, lookup)
				}
			}
			if life := client.PTTL(t.Context(), markKeys[name]).Val(); life < 0 || life > MaxHold {
				t.Errorf("%s, %.40q: it stands for %s after a lease", name, value, life)
			}
			write()
			id := NewHoldID()
			if held := hold(t, r, id, time.Minute, target); held != (Held{}) {
				t.Errorf("%s, %.40q: a hold returns %+v", name, value, held)
			}
			if life := client.PTTL(t.Context(), markKeys[name]).Val(); life < 0 || life > MaxHold {
				t.Errorf("%s, %.40q: a hold lets it stand for %s", name, value, life)
			}
			write()
			releaseHold(t, r, id, target)
			if life := client.PTTL(t.Context(), markKeys[name]).Val(); life > MaxHold || life == -1 {
				t.Errorf("%s, %.40q: a release lets it stand for %s", name, value, life)
			}
			if !strings.HasPrefix(name, "m") && name != "operation" {
				continue
			}
			write()
			apply(t, r, users, caching())
			if client.Exists(t.Context(), markKeys[name]).Val() != 0 {
				t.Errorf("%s, %.40q: a policy leaves it", name, value)
			}
		}
	}
}

func TestAPolicyLeavesMarksAndDropsThoseWithoutEnd(t *testing.T) {
	r, client := newRegistry(t)
	for _, name := range []string{"module", "operation"} {
		apply(t, r, users, caching())
		fillAll(t, r, entry("list", "a", "u"))
		hold(t, r, NewHoldID(), MaxHold, holdTargets[name])
		apply(t, r, users, caching())
		if !isMark(client.Get(t.Context(), markKeys[name]).Val()) {
			t.Errorf("%s: a policy drops a mark", name)
		}
		for _, damage := range []func(){
			func() { client.Persist(t.Context(), markKeys[name]) },
			func() { client.PExpire(t.Context(), markKeys[name], 2*MaxHold) },
		} {
			hold(t, r, NewHoldID(), MaxHold, holdTargets[name])
			damage()
			apply(t, r, users, caching())
			if client.Exists(t.Context(), markKeys[name]).Val() != 0 {
				t.Errorf("%s: a policy leaves what no hold can make", name)
			}
		}
	}
}

// The key that says that entries are held lasts as long as the longest of their marks.
func TestMarksOfEntriesAreKnownWhileTheyLast(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	short, long := NewHoldID(), NewHoldID()
	hold(t, r, long, time.Minute, HoldEntry(entry("list", "a", "")))
	hold(t, r, short, 10*time.Second, HoldEntry(entry("list", "b", "")))
	wantTTL(t, client, keyOf(users)+":h", time.Minute)
	client.Del(t.Context(), keyOf(users)+":h")
	hold(t, r, short, 10*time.Second, HoldEntry(entry("list", "a", "")))
	wantTTL(t, client, keyOf(users)+":h", time.Minute)
	client.Del(t.Context(), keyOf(users)+":h")
	releaseHold(t, r, short, HoldEntry(entry("list", "a", "")))
	wantTTL(t, client, keyOf(users)+":h", time.Minute)
	client.Del(t.Context(), keyOf(users)+":h")
	lease(t, r, entry("list", "a", ""))
	wantTTL(t, client, keyOf(users)+":h", time.Minute)
}
