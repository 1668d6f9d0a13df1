// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"

	"github.com/cachewright/cachewright/registry/internal/wire"
)

// fills has the ways to store an entry.
var fills = map[string]func(*testing.T, *Registry, Key, FillOptions) (Filled, error){
	"Fill": func(t *testing.T, r *Registry, key Key, options FillOptions) (Filled, error) {
		lookup := lease(t, r, key)
		if lookup.Hit {
			if _, err := r.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			lookup = lease(t, r, key)
		}
		return r.Fill(t.Context(), key, []byte("x"), lookup.Token, options)
	},
	"Put": func(t *testing.T, r *Registry, key Key, options FillOptions) (Filled, error) {
		return r.Put(t.Context(), key, []byte("x"), options)
	},
}

func eachFill(t *testing.T, test func(*testing.T, func(*testing.T, *Registry, Key, FillOptions) (Filled, error))) {
	t.Helper()
	for name, fill := range fills {
		t.Run(name, func(t *testing.T) { test(t, fill) })
	}
}

// limited is a policy under which entries are stale for long.
func limited(jitter int) Policy {
	return Policy{Operations: []OperationPolicy{
		{Name: "list", TTL: time.Minute, StaleFor: time.Hour, NegativeTTL: 10 * time.Second, JitterPercent: jitter},
	}}
}

// ends returns for how long an entry is fresh, and for how long it exists.
func ends(t *testing.T, r *Registry, key Key) (fresh, exists time.Duration) {
	t.Helper()
	keys := key.appendReadKeys(nil)
	values := r.client.MGet(t.Context(), keys...).Val()
	heads := make([]string, len(values)-1)
	for i, head := range values[1:] {
		heads[i], _ = head.(string)
	}
	value, _ := values[0].(string)
	found, live := wire.DecodeLive(value, heads...)
	if !live {
		t.Fatalf("%q is not live", key)
	}
	now := r.client.Time(t.Context()).Val()
	return found.FreshUntil.Sub(now), time.UnixMilli(r.client.PExpireTime(t.Context(), keys[0]).Val().Milliseconds()).Sub(now)
}

// There is no stale time after a TTL that the caller sets.
func TestAFillWithATTLEndsWithIt(t *testing.T) {
	eachFill(t, func(t *testing.T, fill func(*testing.T, *Registry, Key, FillOptions) (Filled, error)) {
		r, _ := newRegistry(t)
		apply(t, r, users, limited(0))
		for _, user := range []string{"", "u"} {
			for _, options := range []FillOptions{
				{TTL: 30 * time.Second}, {TTL: time.Minute}, {TTL: 5 * time.Second, Negative: true}, {TTL: 10 * time.Second, Negative: true},
			} {
				key := entry("list", fmt.Sprint(options), user)
				filled, err := fill(t, r, key, options)
				if err != nil || filled.Outcome != Stored || filled.TTL != options.TTL {
					t.Fatalf("%+v: %+v (%v)", options, filled, err)
				}
				fresh, exists := ends(t, r, key)
				if fresh != exists || fresh > options.TTL || fresh < options.TTL-time.Second {
					t.Errorf("%+v: fresh for %s, there for %s", options, fresh, exists)
				}
			}
			without := entry("list", "without", user)
			if _, err := fill(t, r, without, FillOptions{}); err != nil {
				t.Fatal(err)
			}
			if fresh, exists := ends(t, r, without); exists-fresh != time.Hour {
				t.Errorf("without a TTL: fresh for %s, there for %s", fresh, exists)
			}
		}
		short := entry("list", "short", "")
		if _, err := fill(t, r, short, FillOptions{TTL: 30 * time.Millisecond}); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool { return isHit(t, r, short) }).Should(gomega.BeFalse())
	})
}

func TestJitterShortensATTLThatAFillAsksFor(t *testing.T) {
	eachFill(t, func(t *testing.T, fill func(*testing.T, *Registry, Key, FillOptions) (Filled, error)) {
		r, _ := newRegistry(t)
		apply(t, r, users, limited(50))
		const wanted = 10 * time.Second
		shortest, longest := time.Hour, time.Duration(0)
		for i := range 200 {
			key := entry("list", fmt.Sprint(i), "")
			filled, err := fill(t, r, key, FillOptions{TTL: wanted})
			if err != nil {
				t.Fatal(err)
			}
			shortest, longest = min(shortest, filled.TTL), max(longest, filled.TTL)
		}
		if longest > wanted || shortest < wanted/2 || longest-shortest < wanted/4 {
			t.Errorf("from %s to %s, want half of %s and more", shortest, longest, wanted)
		}
		// It is the TTL before the jitter that must not be longer than that of the policy.
		if filled, err := fill(t, r, entry("list", "a", ""), FillOptions{TTL: time.Minute}); err != nil || filled.Outcome != Stored {
			t.Errorf("%+v (%v)", filled, err)
		}
	})
}

func TestAFillCannotAskForMoreThanThePolicyAllows(t *testing.T) {
	eachFill(t, func(t *testing.T, fill func(*testing.T, *Registry, Key, FillOptions) (Filled, error)) {
		r, _ := newRegistry(t)
		apply(t, r, users, limited(0))
		for _, test := range []struct {
			options FillOptions
			says    string
		}{
			{FillOptions{TTL: time.Minute + time.Millisecond}, "60001 is longer than that of the policy, 60000 ms"},
			{FillOptions{TTL: math.MaxInt64}, "is longer than that of the policy, 60000 ms"},
			{FillOptions{TTL: 10*time.Second + time.Millisecond, Negative: true}, "10001 is longer than that of the policy, 10000 ms"},
		} {
			key := entry("list", "a", "")
			filled, err := fill(t, r, key, test.options)
			if !errors.Is(err, ErrTTLTooLong) || !errors.Is(err, ErrRejected) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%+v: %+v (%v)", test.options, filled, err)
			}
			if isHit(t, r, key) {
				t.Errorf("%+v: it is stored", test.options)
			}
		}
	})
}

// A fill that asks for too much does nothing, so that the caller can repeat it without a TTL.
func TestAFillThatAsksForTooMuchKeepsTheLoadLockAndTheToken(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, limited(0))
	key := entry("list", "a", "")
	lookup, err := r.LeaseLocked(t.Context(), key, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, client)
	if _, err := r.Fill(t.Context(), key, nil, lookup.Token, FillOptions{TTL: time.Hour}); !errors.Is(err, ErrTTLTooLong) {
		t.Fatal(err)
	}
	if after := snapshot(t, client); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("it changed %q to %q", before, after)
	}
	if filled, err := r.Fill(t.Context(), key, nil, lookup.Token, FillOptions{}); err != nil || filled.Outcome != Stored {
		t.Errorf("%+v (%v)", filled, err)
	}
}

// What is not cached needs no TTL, and is no error.
func TestATTLOfWhatIsNotCachedIsNotRefused(t *testing.T) {
	eachFill(t, func(t *testing.T, fill func(*testing.T, *Registry, Key, FillOptions) (Filled, error)) {
		r, _ := newRegistry(t)
		apply(t, r, users, Policy{Operations: []OperationPolicy{{Name: "list", TTL: time.Minute}}})
		for _, test := range []struct {
			key     Key
			options FillOptions
		}{{entry("other", "a", ""), FillOptions{TTL: time.Hour}}, {entry("list", "a", ""), FillOptions{TTL: time.Hour, Negative: true}}} {
			if filled, err := fill(t, r, test.key, test.options); err != nil || filled.Outcome != Disabled {
				t.Errorf("%+v: %+v (%v)", test, filled, err)
			}
		}
	})
}

// Entries that end early leave the counts at once, though others of the operation live on.
func TestCountsAreRightWhateverTTLsFillsAskFor(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, Policy{DefaultTTL: new(time.Hour)})
	const each = 50
	for i := range each {
		put(t, r, entry("list", fmt.Sprint("long", i), "u"), "x", FillOptions{})
		put(t, r, entry("list", fmt.Sprint("medium", i), "u"), "x", FillOptions{TTL: time.Minute})
		put(t, r, entry("list", fmt.Sprint("short", i), "u"), "x", FillOptions{TTL: 20 * time.Millisecond})
	}
	eventually(t, func() bool {
		lookup, err := r.Read(t.Context(), entry("list", fmt.Sprint("short", each-1), "u"))
		return err != nil || lookup.Hit
	}).Should(gomega.BeFalse())
	wantKeys(t, r, "list", 2*each)
	if got := invalidate(t, r, users, Scope{Operation: "list"}); got.Keys != 2*each {
		t.Errorf("invalidated %+v, want %d", got, 2*each)
	}
}

// Callers choose TTLs. Whichever they choose, an index has few slices, far from where it counts as
// written by others.
func TestAnIndexHasFewSlicesWhateverTTLsFillsAskFor(t *testing.T) {
	r, client := newRegistry(t)
	const longest = 720 * time.Hour
	apply(t, r, users, Policy{DefaultTTL: new(longest)})
	const count = 3000
	for i := range count {
		ttl := time.Duration(float64(20*time.Second) * math.Pow(float64(longest/(20*time.Second)), rand.Float64()))
		if filled := put(t, r, entry("list", fmt.Sprint(i), ""), "x", FillOptions{TTL: ttl}); filled.Outcome != Stored {
			t.Fatalf("%s: %+v", ttl, filled)
		}
	}
	head := client.Get(t.Context(), keyOf(users)+":o:list").Val()
	slices := client.HLen(t.Context(), keyOf(users)+":i:"+head[:11]).Val()
	const most = 8 * 33 // widths, and slices of each
	if slices > most || slices < 20 {
		t.Errorf("%d slices, want at most %d", slices, most)
	}
	wantKeys(t, r, "list", count)
}

// A policy with a lower TTL ends what outlasts it, and lets stay what ends earlier.
func TestALoweredTTLShortensNoFillThatAskedForLess(t *testing.T) {
	r, _ := newRegistry(t)
	before := OperationPolicy{Name: "list", TTL: time.Hour, NegativeTTL: time.Hour}
	after := OperationPolicy{Name: "list", TTL: time.Minute, StaleFor: 10 * time.Minute, NegativeTTL: time.Minute}
	apply(t, r, users, Policy{Operations: []OperationPolicy{before}})
	asked := []time.Duration{30 * time.Second, 5 * time.Minute, 50 * time.Minute}
	for i := range 300 { // more than one call takes on
		for _, ttl := range asked {
			for _, negative := range []bool{false, true} {
				put(t, r, entry("list", fmt.Sprint(i, ttl, negative), "u"), "x", FillOptions{TTL: ttl, Negative: negative})
			}
		}
	}
	apply(t, r, users, Policy{Operations: []OperationPolicy{after}})
	reclaimAll(t, r, users)
	for _, ttl := range asked {
		for _, negative := range []bool{false, true} {
			longest := after.TTL + after.StaleFor
			if negative {
				longest = after.NegativeTTL
			}
			for _, i := range []int{0, 150, 299} {
				fresh, exists := ends(t, r, entry("list", fmt.Sprint(i, ttl, negative), "u"))
				if want := min(ttl, longest); exists > want || exists < want-20*time.Second || fresh > min(ttl, after.TTL) {
					t.Errorf("asked for %s, negative %v: fresh for %s, there for %s", ttl, negative, fresh, exists)
				}
			}
		}
	}
}

// An older library takes a TTL for a mistake. Without it, the entry would last too long.
func TestAnOlderLibraryThatMustNotBeReplacedKnowsNoTTLs(t *testing.T) {
	r, client := withOlderLibrary(t)
	if _, err := New(client).Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	apply(t, New(client), users, caching())
	if err := client.FunctionLoadReplace(t.Context(), olderLibrary(t)).Err(); err != nil {
		t.Fatal(err)
	}
	key := entry("list", "a", "")
	token := leaseAnew(t, r, key)
	if filled, err := r.Fill(t.Context(), key, nil, token, FillOptions{TTL: time.Second}); !errors.Is(err, ErrLibraryTooOld) {
		t.Errorf("%+v (%v)", filled, err)
	}
	if filled, err := New(client).Fill(t.Context(), key, nil, token, FillOptions{TTL: time.Second}); err != nil || filled.TTL != time.Second {
		t.Errorf("by a user who may load the library: %+v (%v)", filled, err)
	}
}
