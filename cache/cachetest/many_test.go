// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/registry"
)

func manyOf(c cache.Cache) interface {
	cache.ManyFetcher
	cache.ManyDeleter
} {
	return c.(interface {
		cache.ManyFetcher
		cache.ManyDeleter
	})
}

// fetchMany fetches entries from a source that has the even ids, and returns what it was asked for so far.
// Refreshes of stale entries go on in the background.
func fetchMany(t *testing.T, c cache.Cache, version string, ids ...int) (found map[int]string, asked [][]int) {
	t.Helper()
	var mu sync.Mutex // guards what was asked for
	var all [][]int
	found, err := cache.FetchMany(t.Context(), manyOf(c), ids,
		func(id int) cache.Key { return cache.Key{Module: "users", Operation: "get", Params: id} },
		func(_ context.Context, missing []int) (map[int]string, error) {
			mu.Lock()
			all = append(all, slices.Clone(missing))
			mu.Unlock()
			loaded := map[int]string{}
			for _, id := range missing {
				if id%2 == 0 {
					loaded[id] = fmt.Sprint(version, id)
				}
			}
			return loaded, nil
		})
	if err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	return found, slices.Clone(all)
}

func TestManyEntriesAreCachedAsOneIs(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", registry.Policy{Operations: []registry.OperationPolicy{
			{Name: "get", TTL: time.Hour, NegativeTTL: time.Hour, StaleFor: time.Hour},
		}})
		key := func(id int) cache.Key { return cache.Key{Module: "users", Operation: "get", Params: id} }
		want := func(step string, version string, ids []int, found map[int]string, asked ...[]int) {
			t.Helper()
			got, loads := fetchMany(t, s.Cache, version, ids...)
			if !maps.Equal(got, found) || !slices.EqualFunc(loads, asked, slices.Equal[[]int]) {
				t.Errorf("%s: got %v, asked for %v; want %v, %v", step, got, loads, found, asked)
			}
		}
		if got := fetch(t, s.Cache, key(2), func(context.Context) (string, error) { return "of Fetch", nil }); got != "of Fetch" {
			t.Errorf("got %q", got)
		}
		want("with one by Fetch", "a", []int{1, 2, 3, 4}, map[int]string{2: "of Fetch", 4: "a4"}, []int{1, 3, 4})
		want("all are cached, also that some are not found", "b", []int{4, 3, 2, 1, 4}, map[int]string{2: "of Fetch", 4: "a4"})
		if got := fetch(t, s.Cache, key(4), func(context.Context) (string, error) { return "", errors.New("loaded") }); got != "a4" {
			t.Errorf("Fetch gets %q of what FetchMany stored", got)
		}
		must(t, manyOf(s.Cache).DeleteMany(t.Context(), key(1), key(2), key(1)))
		want("after a deletion", "c", []int{1, 2, 3, 4}, map[int]string{2: "c2", 4: "a4"}, []int{1, 2})
		hold, err := s.Cache.(cache.Holder).Hold(t.Context(), time.Minute, key(4))
		must(t, err)
		want("one is held", "d", []int{2, 4}, map[int]string{2: "c2", 4: "d4"}, []int{4})
		want("it is not stored", "e", []int{2, 4, 6}, map[int]string{2: "c2", 4: "e4", 6: "e6"}, []int{6}, []int{4})
		must(t, hold.Release(t.Context()))
		want("after the hold", "f", []int{2, 4, 6}, map[int]string{2: "c2", 4: "f4", 6: "e6"}, []int{4})
		must(t, s.InvalidateSoftly(t.Context(), cache.Scope{Module: "users", Operation: "get"}))
		got, _ := fetchMany(t, s.Cache, "g", 2, 4)
		if !maps.Equal(got, map[int]string{2: "c2", 4: "f4"}) {
			t.Errorf("stale entries are %v", got)
		}
		for began := time.Now(); ; time.Sleep(time.Millisecond) { // until they are refreshed
			got, _ := fetchMany(t, s.Cache, "h", 2, 4)
			if maps.Equal(got, map[int]string{2: "g2", 4: "g4"}) {
				break
			}
			if time.Since(began) > waitTimeout {
				t.Fatalf("refreshed entries are %v", got)
			}
		}
		if got, _ := fetchMany(t, s.newer, "v2-", 2); got[2] != "v2-2" {
			t.Errorf("another schema gets %v", got)
		}
	})
}

// Whatever happens to the entries, FetchMany returns and leaves what a Fetch of each does.
func TestFetchManyIsFetchOfEach(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		clock := cachetest.WithClock(func() time.Time { return now })
		many, each := cachetest.New(clock), cachetest.New(clock)
		both := func(do func(*cachetest.Fake) error) {
			if a, b := do(many), do(each); (a == nil) != (b == nil) {
				t.Fatalf("%v; %v", a, b)
			}
		}
		d := &differential{module: "users"}
		rounds := rapid.IntRange(1, 12).Draw(t, "rounds")
		for round := range rounds {
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0:
				policy := registry.Policy{Operations: []registry.OperationPolicy{d.rule(t, "list"), d.rule(t, "get")}}
				both(func(f *cachetest.Fake) error { f.SetPolicy("users", policy); return nil })
			case 1:
				key := d.key(t)
				both(func(f *cachetest.Fake) error { return f.Delete(t.Context(), key) })
			case 2:
				scope := cache.Scope{Module: "users", Operation: "get"}
				both(func(f *cachetest.Fake) error { return f.InvalidateSoftly(t.Context(), scope) })
			case 3:
				key, ttl := d.key(t), rapid.SampledFrom([]time.Duration{time.Minute, 2 * time.Hour}).Draw(t, "hold")
				both(func(f *cachetest.Fake) error {
					_, err := f.Hold(t.Context(), min(ttl, 10*time.Minute), key)
					return err
				})
			case 4:
				now = now.Add(rapid.SampledFrom([]time.Duration{time.Minute, time.Hour}).Draw(t, "time"))
			case 5:
				failure := rapid.SampledFrom([]error{nil, errors.New("down")}).Draw(t, "failure")
				both(func(f *cachetest.Fake) error { f.Fail(failure); return nil })
			}
			fetchBoth(t, d, many, each, round)
		}
		both(func(f *cachetest.Fake) error { f.Fail(nil); return nil })
		a, err := many.Stats(t.Context())
		b, alsoErr := each.Stats(t.Context())
		if err != nil || alsoErr != nil || fmt.Sprint(a) != fmt.Sprint(b) {
			t.Fatalf("the statistics are %v, %v; of each %v, %v", a, err, b, alsoErr)
		}
	})
}

var errOfLoad = errors.New("of the load")

func fetchBoth(t *rapid.T, d *differential, many, each *cachetest.Fake, round int) {
	keys := map[string]cache.Key{}
	for range rapid.IntRange(1, 6).Draw(t, "keys") {
		key := d.key(t)
		keys[fmt.Sprint(key)] = key
	}
	ids := slices.Sorted(maps.Keys(keys))
	missing := map[string]bool{}
	failing := map[string]bool{}
	for _, id := range ids {
		missing[id] = rapid.IntRange(0, 3).Draw(t, "missing") == 0
		failing[id] = rapid.IntRange(0, 5).Draw(t, "failing") == 0
	}
	load := func(id string) (string, error) {
		switch {
		case failing[id]:
			return "", errOfLoad
		case missing[id]:
			return "", cache.ErrNotFound
		default:
			return fmt.Sprint(id, round), nil
		}
	}
	got, err := cache.FetchMany(t.Context(), many, ids, func(id string) cache.Key { return keys[id] },
		func(_ context.Context, ids []string) (map[string]string, error) {
			found, failed := map[string]string{}, cache.KeyErrors[string]{}
			for _, id := range ids {
				if value, err := load(id); err == nil {
					found[id] = value
				} else if errors.Is(err, errOfLoad) {
					failed[id] = err
				}
			}
			return found, failed
		})
	var failed cache.KeyErrors[string]
	errors.As(err, &failed)
	for _, id := range ids {
		value, err := cache.Fetch(t.Context(), each, keys[id], func(context.Context) (string, error) { return load(id) })
		gotValue, found := got[id]
		notFound := errors.Is(err, cache.ErrNotFound)
		if value != gotValue || (err == nil) != found || errors.Is(err, errOfLoad) != errors.Is(failed[id], errOfLoad) || notFound != (!found && failed[id] == nil) {
			t.Fatalf("%s: FetchMany gets %q, %t, %v; Fetch %q, %v", id, gotValue, found, failed[id], value, err)
		}
	}
}
