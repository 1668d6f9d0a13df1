// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/cache/internal/params"
	"github.com/cachewright/cachewright/registry"
)

func userKey(id int) Key { return Key{Module: "users", Operation: "get", Params: id} }

// idOf is the ID of a key that userKey made.
func idOf(t *testing.T, id int) string {
	t.Helper()
	name, err := params.Named(id)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// manySource is a source that has every id, and notes what it is asked for.
type manySource struct {
	mu    sync.Mutex
	asked [][]int
}

func (s *manySource) load(_ context.Context, ids []int) (map[int]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, slices.Clone(ids))
	found := map[int]string{}
	for _, id := range ids {
		found[id] = fmt.Sprint("loaded ", id)
	}
	return found, nil
}

func (s *manySource) wantAsked(t *testing.T, want ...[]int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.EqualFunc(s.asked, want, slices.Equal[[]int]) {
		t.Errorf("the source was asked for %v; want %v", s.asked, want)
	}
}

func wantCalls(t *testing.T, store *stubStore, want map[string]int) {
	t.Helper()
	got := map[string]int{}
	for _, call := range []string{
		"read", "readMany", "lease", "leaseMany", "set", "setNegative", "setMany", "unlock", "unlockMany", "delete", "deleteMany",
	} {
		if n := store.Called(call); n > 0 {
			got[call] = n
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("the calls to Redis are %v; want %v", got, want)
	}
}

func ids(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// hitsFor is a Redis that has some entries.
func hitsFor(t *testing.T, hits map[int]registry.Lookup) func(context.Context, registry.Key) (registry.Lookup, error) {
	t.Helper()
	byID := map[string]registry.Lookup{}
	for id, hit := range hits {
		hit.Hit = true
		byID[idOf(t, id)] = hit
	}
	return func(_ context.Context, key registry.Key) (registry.Lookup, error) { return byID[key.ID], nil }
}

func TestManyEntriesTakeOneCallOfEachKind(t *testing.T) {
	store := &stubStore{OnRead: hitsFor(t, map[int]registry.Lookup{
		0: {Payload: []byte(`"cached 0"`), Remaining: time.Minute},
		1: {Negative: true, Remaining: time.Minute},
		2: {Payload: []byte(`{"undecodable":true}`), Remaining: time.Minute},
	})}
	withClient(t, store, func(t *testing.T, c *Client) {
		source := &manySource{}
		got, err := FetchMany(t.Context(), c, []int{0, 1, 2, 3, 0, 3, 4}, userKey, source.load)
		want := map[int]string{0: "cached 0", 2: "loaded 2", 3: "loaded 3", 4: "loaded 4"}
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("got %v, %v", got, err)
		}
		source.wantAsked(t, []int{2, 3, 4})
		wantCalls(t, store, map[string]int{"readMany": 1, "delete": 1, "leaseMany": 1, "setMany": 1})
	})
}

func TestWhatALoaderOfManySaysOfEachKey(t *testing.T) {
	errSource := errors.New("no connection")
	for name, test := range map[string]struct {
		loaded map[int]string
		err    error
		want   map[int]string
		errs   map[int]error
		fills  int
	}{
		"left out":                   {map[int]string{0: "a"}, nil, map[int]string{0: "a"}, nil, 3},
		"an error":                   {map[int]string{0: "a"}, errSource, map[int]string{}, map[int]error{0: errSource, 1: errSource, 2: errSource}, 0},
		"an error of one":            {map[int]string{0: "a"}, KeyErrors[int]{1: errSource}, map[int]string{0: "a"}, map[int]error{1: errSource}, 2},
		"an error of one, wrapped":   {map[int]string{0: "a"}, fmt.Errorf("users: %w", KeyErrors[int]{1: errSource}), map[int]string{0: "a"}, map[int]error{1: errSource}, 2},
		"nothing is found":           {nil, fmt.Errorf("users: %w", ErrNotFound), map[int]string{}, nil, 3},
		"a value beside its error":   {map[int]string{0: "a", 1: "b", 2: "c"}, KeyErrors[int]{1: errSource}, map[int]string{0: "a", 2: "c"}, map[int]error{1: errSource}, 2},
		"one that was not asked for": {map[int]string{0: "a", 9: "b"}, nil, map[int]string{0: "a"}, nil, 3},
	} {
		t.Run(name, func(t *testing.T) {
			filled := 0
			store := &stubStore{OnSet: func(context.Context, registry.Key) (registry.Filled, error) {
				filled++
				return registry.Filled{Outcome: registry.Stored}, nil
			}}
			withClient(t, store, func(t *testing.T, c *Client) {
				got, err := FetchMany(t.Context(), c, ids(3), userKey, func(context.Context, []int) (map[int]string, error) {
					return test.loaded, test.err
				})
				var errs KeyErrors[int]
				errors.As(err, &errs)
				if !maps.Equal(got, test.want) || !maps.Equal(map[int]error(errs), test.errs) || (err == nil) != (len(test.errs) == 0) {
					t.Errorf("got %v, %v", got, err)
				}
				if filled != test.fills {
					t.Errorf("%d fills, want %d", filled, test.fills)
				}
			})
		})
	}
}

func TestABadKeyAmongManyFailsAlone(t *testing.T) {
	store := &stubStore{OnSet: func(_ context.Context, key registry.Key) (registry.Filled, error) {
		if key.ID == "" {
			return registry.Filled{}, registry.ErrRejected
		}
		return registry.Filled{Outcome: registry.Stored}, nil
	}}
	withClient(t, store, func(t *testing.T, c *Client) {
		source := &manySource{}
		key := func(id int) Key {
			if id == 1 {
				return Key{Module: "users", Operation: "get", Params: func() {}} // it cannot name an entry
			}
			return userKey(id)
		}
		got, err := FetchMany(t.Context(), c, ids(3), key, source.load)
		if err != nil || len(got) != 3 {
			t.Errorf("got %v, %v", got, err)
		}
		source.wantAsked(t, []int{0, 1, 2})
		wantCalls(t, store, map[string]int{"readMany": 1, "leaseMany": 1, "setMany": 1})
		errs, err := c.FetchMany(t.Context(), []Key{userKey(0), userKey(1)}, []any{new(string), "no pointer"},
			func(context.Context, []int) []Loaded { return []Loaded{{Value: "a"}} })
		if err != nil || errs[0] != nil || errs[1] == nil {
			t.Errorf("without a destination: %v, %v", errs, err)
		}
		if err := c.DeleteMany(t.Context(), userKey(0), key(1), userKey(2)); !errors.Is(err, ErrParams) || errors.Is(err, ErrQueued) {
			t.Errorf("deleting: %v", err)
		}
		wantCalls(t, store, map[string]int{"readMany": 1, "read": 1, "leaseMany": 1, "lease": 1, "setMany": 1, "set": 1, "deleteMany": 1})
	})
}

func TestManyKeysAreAtMostAThousand(t *testing.T) {
	store := &stubStore{}
	withClient(t, store, func(t *testing.T, c *Client) {
		source := &manySource{}
		_, err := FetchMany(t.Context(), c, ids(MaxMany+1), userKey, source.load)
		keys := make([]Key, MaxMany+1)
		if deleted := c.DeleteMany(t.Context(), keys...); !errors.Is(err, ErrTooMany) || !errors.Is(deleted, ErrTooMany) {
			t.Errorf("%v, %v", err, deleted)
		}
		if _, err := c.FetchMany(t.Context(), keys[:2], nil, nil); err == nil {
			t.Error("there are fewer dests than keys")
		}
		source.wantAsked(t)
		wantCalls(t, store, map[string]int{})
		got, err := FetchMany(t.Context(), c, ids(MaxMany), userKey, source.load)
		if err != nil || len(got) != MaxMany {
			t.Errorf("%d, %v", len(got), err)
		}
	})
}

// Two processes that lease the same entries in another order each get the load lock of one.
func TestManyLoadsWhatItOwnsBeforeItWaitsForOthers(t *testing.T) {
	mine, others := idOf(t, 0), idOf(t, 1)
	for name, test := range map[string]struct {
		delivers bool
		asked    [][]int
		took     time.Duration // at least
	}{
		"the other delivers":       {true, [][]int{{0}}, time.Millisecond},
		"the other never delivers": {false, [][]int{{0}, {1}}, defaultLoadWait},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			stored := map[string]bool{}
			store := &stubStore{
				OnLease: func(_ context.Context, key registry.Key) (registry.Lookup, error) {
					lookup := registry.Lookup{Token: "-token", Cacheable: true}
					if key.ID == others {
						lookup.Wait = time.Hour
					}
					return lookup, nil
				},
				OnSet: func(_ context.Context, key registry.Key) (registry.Filled, error) {
					mu.Lock()
					defer mu.Unlock()
					stored[key.ID] = true
					return registry.Filled{Outcome: registry.Stored}, nil
				},
			}
			// The other process waits for what this one owns, and loads the other entry after that.
			store.OnRead = func(_ context.Context, key registry.Key) (registry.Lookup, error) {
				mu.Lock()
				defer mu.Unlock()
				if key.ID == others && test.delivers && stored[mine] {
					return registry.Lookup{Hit: true, Payload: []byte(`"theirs"`), Remaining: time.Minute}, nil
				}
				return registry.Lookup{}, nil
			}
			withClient(t, store, func(t *testing.T, c *Client) {
				source, began := &manySource{}, time.Now()
				got, err := FetchMany(t.Context(), c, []int{1, 0}, userKey, source.load)
				want := map[int]string{0: "loaded 0", 1: "loaded 1"}
				if test.delivers {
					want[1] = "theirs"
				}
				if took := time.Since(began); err != nil || !maps.Equal(got, want) || took < test.took || took > test.took+maxWait+time.Second/2 {
					t.Errorf("got %v, %v after %s", got, err, took)
				}
				source.wantAsked(t, test.asked...)
			})
		})
	}
}

func TestManyAndFetchShareLoads(t *testing.T) {
	store := &stubStore{}
	withClient(t, store, func(t *testing.T, c *Client) {
		release, source := make(chan struct{}), &manySource{}
		first := make(chan string)
		go func() {
			value, _ := Fetch(t.Context(), c, userKey(1), func(context.Context) (string, error) {
				<-release
				return "of Fetch", nil
			})
			first <- value
		}()
		synctest.Wait()
		many := make(chan map[int]string)
		go func() {
			found, err := FetchMany(t.Context(), c, []int{1, 2}, userKey, source.load)
			if err != nil {
				t.Error(err)
			}
			many <- found
		}()
		synctest.Wait()
		source.wantAsked(t, []int{2}) // before the load of the other has ended
		close(release)
		if value, found := <-first, <-many; value != "of Fetch" || !maps.Equal(found, map[int]string{1: "of Fetch", 2: "loaded 2"}) {
			t.Errorf("got %q and %v", value, found)
		}
	})
}

func TestFetchJoinsTheLoadOfMany(t *testing.T) {
	store := &stubStore{}
	withClient(t, store, func(t *testing.T, c *Client) {
		release := make(chan struct{})
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			_, err := FetchMany(ctx, c, []int{1, 2}, userKey, func(ctx context.Context, ids []int) (map[int]string, error) {
				<-release
				return (&manySource{}).load(ctx, ids)
			})
			left <- err
		}()
		synctest.Wait()
		joined := make(chan string)
		go func() {
			value, err := Fetch(t.Context(), c, userKey(2), func(context.Context) (string, error) { return "twice", nil })
			if err != nil {
				t.Error(err)
			}
			joined <- value
		}()
		synctest.Wait()
		leave() // the load goes on, as somebody waits for a part of it
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("who left got %v", err)
		}
		close(release)
		if value := <-joined; value != "loaded 2" {
			t.Errorf("got %q", value)
		}
	})
}

func TestTheLoadOfManyEndsWhenAllHaveLeft(t *testing.T) {
	withClient(t, &stubStore{}, func(t *testing.T, c *Client) {
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		ended := make(chan struct{})
		_, err := FetchMany(ctx, c, ids(3), userKey, func(ctx context.Context, _ []int) (map[int]string, error) {
			<-ctx.Done()
			close(ended)
			return nil, ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		<-ended
	})
}

func TestAPanicInTheLoadOfManyReachesItsCallerAlone(t *testing.T) {
	withClient(t, &stubStore{}, func(t *testing.T, c *Client) {
		release, panicked := make(chan struct{}), make(chan any, 1)
		go func() {
			defer func() { panicked <- recover() }()
			_, _ = FetchMany(t.Context(), c, ids(3), userKey, func(context.Context, []int) (map[int]string, error) {
				<-release
				panic("oops")
			})
		}()
		synctest.Wait()
		joined := make(chan string)
		go func() {
			value, _ := Fetch(t.Context(), c, userKey(2), func(context.Context) (string, error) { return "alone", nil })
			joined <- value
		}()
		synctest.Wait()
		close(release)
		if value := <-panicked; value == nil {
			t.Error("the caller did not panic")
		}
		if value := <-joined; value != "alone" {
			t.Errorf("who joined got %q", value)
		}
	})
}

// Redis is away, slow, full, or does not cache the operation: there is one load for all.
func TestWithoutRedisOneLoadIsForAll(t *testing.T) {
	down := func(context.Context, registry.Key) (registry.Lookup, error) { return registry.Lookup{}, errDown }
	hangs := func(ctx context.Context, _ registry.Key) (registry.Lookup, error) {
		return registry.Lookup{}, hang(ctx)
	}
	for name, store := range map[string]*stubStore{
		"down":       {OnRead: down},
		"hangs":      {OnRead: hangs},
		"no leases":  {OnLease: down},
		"not cached": {OnLease: func(context.Context, registry.Key) (registry.Lookup, error) { return registry.Lookup{Token: "0"}, nil }},
		"no fills":   {OnSet: func(context.Context, registry.Key) (registry.Filled, error) { return registry.Filled{}, errDown }},
		"held": {OnLease: func(context.Context, registry.Key) (registry.Lookup, error) {
			return registry.Lookup{Token: "0", Held: time.Second}, nil
		}},
		"half of it is held": {OnLease: func(_ context.Context, key registry.Key) (registry.Lookup, error) {
			if key.ID == idOf(t, 0) {
				return registry.Lookup{Token: "0", Held: time.Second}, nil
			}
			return registry.Lookup{Token: "-token", Cacheable: true}, nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			withClient(t, store, func(t *testing.T, c *Client) {
				source, began := &manySource{}, time.Now()
				got, err := FetchMany(t.Context(), c, ids(3), userKey, source.load)
				if err != nil || len(got) != 3 || got[2] != "loaded 2" || time.Since(began) > defaultTimeout {
					t.Errorf("got %v, %v after %s", got, err, time.Since(began))
				}
				if name == "half of it is held" {
					source.wantAsked(t, []int{1, 2}, []int{0})
				} else {
					source.wantAsked(t, []int{0, 1, 2})
				}
			})
		})
	}
}

// While the breaker is open, no call is made.
func TestManyObeysTheBreaker(t *testing.T) {
	store := &stubStore{OnRead: func(context.Context, registry.Key) (registry.Lookup, error) { return registry.Lookup{}, errDown }}
	withClient(t, store, func(t *testing.T, c *Client) {
		for range 2 * breakerFailures {
			if got, err := FetchMany(t.Context(), c, ids(3), userKey, (&manySource{}).load); err != nil || len(got) != 3 {
				t.Errorf("got %v, %v", got, err)
			}
		}
		if calls := store.Called("readMany"); calls != breakerFailures {
			t.Errorf("%d reads, want %d", calls, breakerFailures)
		}
	})
}

func TestStaleEntriesOfManyAreRefreshedInOneLoad(t *testing.T) {
	stale := registry.Lookup{Stale: true, Payload: []byte(`"stale"`)}
	store := &stubStore{OnRead: hitsFor(t, map[int]registry.Lookup{0: stale, 1: stale, 2: {Payload: []byte(`"fresh"`), Remaining: time.Minute}})}
	withClient(t, store, func(t *testing.T, c *Client) {
		source := &manySource{}
		const loadTime = time.Second
		for range 2 { // the second finds that it is under way
			got, err := FetchMany(t.Context(), c, ids(3), userKey, func(ctx context.Context, ids []int) (map[int]string, error) {
				time.Sleep(loadTime)
				return source.load(ctx, ids)
			})
			if err != nil || !maps.Equal(got, map[int]string{0: "stale", 1: "stale", 2: "fresh"}) {
				t.Errorf("got %v, %v", got, err)
			}
		}
		time.Sleep(loadTime)
		synctest.Wait()
		source.wantAsked(t, []int{0, 1})
		wantCalls(t, store, map[string]int{"readMany": 2, "leaseMany": 1, "setMany": 1})
	})
}

func TestAQueuedInvalidationCoversManyEntries(t *testing.T) {
	store := &stubStore{OnDelete: func(registry.Key) error { return errDown }}
	withClient(t, store, func(t *testing.T, c *Client) {
		err := c.DeleteMany(t.Context(), userKey(0), userKey(1))
		if !errors.Is(err, ErrQueued) || c.figures().QueuedInvalidations != 2 {
			t.Errorf("%v, %d are queued", err, c.figures().QueuedInvalidations)
		}
		if calls := store.Called("deleteMany"); calls != 1 {
			t.Errorf("%d pipelines", calls)
		}
		source := &manySource{}
		if got, err := FetchMany(t.Context(), c, ids(3), userKey, source.load); err != nil || len(got) != 3 {
			t.Errorf("got %v, %v", got, err)
		}
		source.wantAsked(t, []int{0, 1, 2})
		wantCalls(t, store, map[string]int{"deleteMany": 1, "read": 1, "lease": 1, "set": 1}) // of entry 2 alone
	})
}

func TestEachModuleOfManyIsReadOnItsOwn(t *testing.T) {
	store := &stubStore{OnRead: func(_ context.Context, key registry.Key) (registry.Lookup, error) {
		if key.Module == "m1" {
			return registry.Lookup{}, errDown
		}
		return registry.Lookup{}, nil
	}}
	withClient(t, store, func(t *testing.T, c *Client) {
		source := &manySource{}
		got, err := FetchMany(t.Context(), c, ids(9), func(id int) Key {
			return Key{Module: fmt.Sprint("m", id%3), Operation: "get", Params: id}
		}, source.load)
		if err != nil || len(got) != 9 {
			t.Errorf("got %v, %v", got, err)
		}
		source.wantAsked(t, ids(9))
		wantCalls(t, store, map[string]int{"readMany": 3, "leaseMany": 2, "setMany": 2})
	})
}

func TestObserverSeesEachKeyOfMany(t *testing.T) {
	store := &stubStore{OnRead: hitsFor(t, map[int]registry.Lookup{0: {Payload: []byte(`"cached"`), Remaining: time.Minute}})}
	d := &diary{}
	withClient(t, store, func(t *testing.T, c *Client) {
		if _, err := FetchMany(t.Context(), c, ids(3), userKey, (&manySource{}).load); err != nil {
			t.Error(err)
		}
		_ = c.DeleteMany(t.Context(), userKey(0), userKey(1))
		want := []string{
			"load users.get, of a request: true, <nil>", "fill users.get: stored", "fill users.get: stored",
			"fetch_many users.get: hit, <nil>", "fetch_many users.get: miss, <nil>", "fetch_many users.get: miss, <nil>",
			"invalidate entry users.get, soft: false, queued: false", "invalidate entry users.get, soft: false, queued: false",
		}
		if got := d.read(); !slices.Equal(got, want) {
			t.Errorf("the observer saw\n%q\nwant\n%q", got, want)
		}
	}, WithObserver(d))
}
