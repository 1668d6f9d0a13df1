// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/registry"
)

type user struct {
	Name  string            `json:"name"`
	Roles map[string]bool   `json:"roles"`
	Boss  *user             `json:"boss,omitempty"`
	Tags  map[string]string `json:"-"`
}

func TestFetchLoadsOnceThenReads(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		key := cache.Key{Module: "users", Operation: "getById", Params: 7}
		want := user{Name: "Ada", Roles: map[string]bool{"admin": true}, Boss: &user{Name: "Charles"}}
		loader, loads := load(want)
		for range 3 {
			if got := fetch(t, s.Cache, key, loader); !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
		if got := fetch(t, s.other, key, loader); !reflect.DeepEqual(got, want) {
			t.Errorf("another process got %+v, want %+v", got, want)
		}
		if loads.count() != 1 {
			t.Errorf("%d loads, want 1", loads.count())
		}
	})
}

func TestFetchOfAnyType(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("types", everything(time.Hour))
		roundTrip(t, s, "string", "a \x00 \u2028 string")
		roundTrip(t, s, "empty string", "")
		roundTrip(t, s, "integer", int64(math.MaxInt64))
		roundTrip(t, s, "bytes", []byte{0, 1, 254, 255})
		roundTrip[[]string](t, s, "nil slice", nil)
		roundTrip(t, s, "slice", []string{"a", "b"})
		roundTrip[*user](t, s, "nil pointer", nil)
		roundTrip(t, s, "pointer", &user{Name: "Ada"})
		roundTrip[any](t, s, "nil", nil)
		roundTrip[any](t, s, "any", "text")
		roundTrip(t, s, "time", time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC))
	})
}

func roundTrip[T any](t *testing.T, s subject, operation string, want T) {
	t.Helper()
	loader, loads := load(want)
	for range 2 {
		if got := fetch(t, s.Cache, cache.Key{Module: "types", Operation: operation}, loader); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %#v, want %#v", operation, got, want)
		}
	}
	if loads.count() != 1 {
		t.Errorf("%s: %d loads, want 1", operation, loads.count())
	}
}

func TestLoaderErrorIsReturnedAsItIsAndNotStored(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		key := cache.Key{Module: "users", Operation: "getById"}
		failure := errors.New("no such user")
		value, err := cache.Fetch(t.Context(), s.Cache, key, func(context.Context) (string, error) { return "half", failure })
		if value != "" || err != failure { //nolint:errorlint // it must be the very error
			t.Errorf("got %q, %v", value, err)
		}
		if cached(t, s.Cache, key) {
			t.Error("the value of a failed load was stored")
		}
	})
}

func TestOperationsThatArePolicyDisabledAreNotCachedAndNotJoined(t *testing.T) {
	zero := time.Duration(0)
	policies := map[string]registry.Policy{
		"not listed": {Operations: []registry.OperationPolicy{{Name: "other", TTL: time.Hour}}},
		"0s":         {DefaultTTL: new(time.Hour), Operations: []registry.OperationPolicy{{Name: "create"}}},
		"default 0s": {DefaultTTL: &zero},
	}
	forEachCache(t, func(t *testing.T, s subject) {
		for name, policy := range policies {
			module := strings.ReplaceAll(name, " ", "-")
			s.setPolicy(module, policy)
			key := cache.Key{Module: module, Operation: "create", Params: "order"}
			first := begin(t, s.Cache, key, "order 1")
			second := begin(t, s.Cache, key, "order 2") // began although the first is under way
			if got := second.end(); got != "order 2" {
				t.Errorf("%s: got %q", name, got)
			}
			if got := first.end(); got != "order 1" {
				t.Errorf("%s: got %q", name, got)
			}
			must(t, s.Set(t.Context(), key, "order 3"))
			if cached(t, s.Cache, key) {
				t.Errorf("%s: the entry was stored", name)
			}
		}
	})
}

func TestEntriesExpire(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", registry.Policy{Operations: []registry.OperationPolicy{
			{Name: "short", TTL: 100 * time.Millisecond}, {Name: "long", TTL: time.Hour},
		}})
		short, long := cache.Key{Module: "users", Operation: "short"}, cache.Key{Module: "users", Operation: "long"}
		must(t, s.Set(t.Context(), short, "v"))
		must(t, s.Set(t.Context(), long, "v"))
		s.elapse(100 * time.Millisecond)
		NewWithT(t).Eventually(func() bool { return cached(t, s.Cache, short) }).WithTimeout(waitTimeout).Should(BeFalse())
		if !cached(t, s.Cache, long) {
			t.Error("the long-lived entry is gone")
		}
	})
}

func TestEntriesAreTheirOwn(t *testing.T) {
	keys := []cache.Key{
		{Module: "users", Operation: "get"},
		{Module: "users", Operation: "get", Params: ""},
		{Module: "users", Operation: "get", Params: 1},
		{Module: "users", Operation: "get", Params: "1"},
		{Module: "users", Operation: "get", Params: []int{1}},
		{Module: "users", Operation: "get", Params: map[string]int{"id": 1}},
		{Module: "users", Operation: "get", Params: 9007199254740992},
		{Module: "users", Operation: "get", Params: 9007199254740993},
		{Module: "users", Operation: "get", User: "ada"},
		{Module: "users", Operation: "get", User: "ada", Params: 1},
		{Module: "users", Operation: "get", User: "a:da\x00{}\xff\r\n"},
		{Module: "users", Operation: "get:1", User: "ada"},
		{Module: "users", Operation: "get:1:3:ada"},
		{Module: "users-get", Operation: "get"},
		{Module: "users.get", Operation: "get"},
	}
	forEachCache(t, func(t *testing.T, s subject) {
		for i, key := range keys {
			s.setPolicy(key.Module, everything(time.Hour))
			loader, loads := load(i)
			fetch(t, s.Cache, key, loader)
			if loads.count() != 1 {
				t.Errorf("%+v: shares an entry with another key", key)
			}
		}
		for i, key := range keys {
			loader, _ := load(-1)
			if got := fetch(t, s.Cache, key, loader); got != i {
				t.Errorf("%+v: got %d, want %d", key, got, i)
			}
		}
	})
}

func TestInvalidationCoversExactlyWhatItNames(t *testing.T) {
	all := []cache.Key{
		{Module: "users", Operation: "get"},
		{Module: "users", Operation: "get", User: "ada"},
		{Module: "users", Operation: "get", User: "bob"},
		{Module: "users", Operation: "list", Params: 1},
		{Module: "users", Operation: "list", User: "ada"},
		{Module: "posts", Operation: "get"},
		{Module: "posts", Operation: "list", User: "ada"},
		{Module: "posts", Operation: "list", User: "bob"},
	}
	tests := map[string]struct {
		invalidate func(context.Context, cache.Cache) error
		goes       func(cache.Key) bool
	}{
		"module": {
			func(ctx context.Context, c cache.Cache) error { return c.InvalidateModule(ctx, "users") },
			func(k cache.Key) bool { return k.Module == "users" },
		},
		"operation": {
			func(ctx context.Context, c cache.Cache) error { return c.InvalidateOperation(ctx, "users", "list") },
			func(k cache.Key) bool { return k.Module == "users" && k.Operation == "list" },
		},
		"user in one module": {
			func(ctx context.Context, c cache.Cache) error { return c.InvalidateUser(ctx, "ada", "users") },
			func(k cache.Key) bool { return k.Module == "users" && k.User == "ada" },
		},
		"user everywhere": {
			func(ctx context.Context, c cache.Cache) error { return c.InvalidateUser(ctx, "ada") },
			func(k cache.Key) bool { return k.User == "ada" },
		},
		"one entry": {
			func(ctx context.Context, c cache.Cache) error { return c.Delete(ctx, all[3]) },
			func(k cache.Key) bool { return k == all[3] },
		},
		"nothing that is there": {
			func(ctx context.Context, c cache.Cache) error {
				return errors.Join(c.InvalidateModule(ctx, "orders"), c.InvalidateOperation(ctx, "users", "search"), c.InvalidateUser(ctx, "eve"))
			},
			func(cache.Key) bool { return false },
		},
	}
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		s.setPolicy("posts", everything(time.Hour))
		for name, test := range tests {
			for _, key := range all {
				must(t, s.Set(t.Context(), key, "v"))
			}
			must(t, test.invalidate(t.Context(), s.other))
			for _, key := range all {
				if got, want := cached(t, s.Cache, key), !test.goes(key); got != want {
					t.Errorf("%s: %+v is cached: %v, want %v", name, key, got, want)
				}
			}
		}
	})
}

// invalidations of an entry {users, get, 1, ada}, and acts that void it otherwise.
var invalidations = map[string]func(context.Context, subject, cache.Key) error{
	"module": func(ctx context.Context, s subject, key cache.Key) error {
		return s.other.InvalidateModule(ctx, key.Module)
	},
	"operation": func(ctx context.Context, s subject, key cache.Key) error {
		return s.other.InvalidateOperation(ctx, key.Module, key.Operation)
	},
	"user": func(ctx context.Context, s subject, key cache.Key) error {
		return s.other.InvalidateUser(ctx, key.User, key.Module)
	},
	"user everywhere": func(ctx context.Context, s subject, key cache.Key) error {
		return s.other.InvalidateUser(ctx, key.User)
	},
	"softly": func(ctx context.Context, s subject, key cache.Key) error {
		return s.other.InvalidateSoftly(ctx, cache.Scope{Module: key.Module})
	},
	"operation of the user softly": func(ctx context.Context, s subject, key cache.Key) error {
		return s.other.InvalidateSoftly(ctx, cache.Scope{Module: key.Module, Operation: key.Operation, User: key.User})
	},
	"delete": func(ctx context.Context, s subject, key cache.Key) error {
		return s.other.Delete(ctx, key)
	},
	"revision": func(_ context.Context, s subject, key cache.Key) error {
		policy := everything(time.Hour)
		policy.Revision = "2"
		s.setPolicy(key.Module, policy)
		return nil
	},
}

// The heart of the matter: what began before an invalidation is for its own caller only. It is not
// stored, and nobody who comes later joins it.
func TestLoadThatBeganBeforeAnInvalidationIsNotSeenAfterIt(t *testing.T) {
	key := cache.Key{Module: "users", Operation: "get", Params: 1, User: "ada"}
	forEachCache(t, func(t *testing.T, s subject) {
		for name, invalidate := range invalidations {
			policy := everything(time.Hour)
			policy.Revision = "1"
			s.setPolicy(key.Module, policy)
			must(t, s.Delete(t.Context(), key))

			before := begin(t, s.Cache, key, "old")
			must(t, invalidate(t.Context(), s, key))
			after := begin(t, s.Cache, key, "new") // began: so it has not joined
			if got := after.end(); got != "new" {
				t.Errorf("%s: who came after the invalidation got %q", name, got)
			}
			if got := before.end(); got != "old" {
				t.Errorf("%s: who came before the invalidation got %q", name, got)
			}
			loader, _ := load("newer")
			if got := fetch(t, s.Cache, key, loader); got != "new" {
				t.Errorf("%s: stored is %q, want what was loaded after the invalidation", name, got)
			}
		}
	})
}

func TestConcurrentCallersShareOneLoadButNoMemory(t *testing.T) {
	const callers = 100
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		key := cache.Key{Module: "users", Operation: "get"}
		release, loads := make(chan struct{}), &counter{}
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() {
				got := fetch(t, s.Cache, key, func(context.Context) (user, error) {
					loads.add()
					<-release
					return user{Roles: map[string]bool{"reader": true}}, nil
				})
				if len(got.Roles) != 1 {
					t.Errorf("a caller got %v", got.Roles)
				}
				got.Roles[fmt.Sprint(i)] = true // a data race, were it shared
			})
		}
		waitForCallers(t, callers)
		close(release)
		all.Wait()
		if loads.count() != 1 {
			t.Errorf("%d loads, want 1", loads.count())
		}
	})
}

func TestCallerThatGivesUpLeavesTheLoadToOthers(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		key := cache.Key{Module: "users", Operation: "get"}
		ctx, cancel := context.WithCancel(t.Context())
		begun, release := make(chan struct{}), make(chan struct{})
		impatient := make(chan error, 1)
		go func() {
			_, err := cache.Fetch(ctx, s.Cache, key, func(ctx context.Context) (string, error) {
				close(begun)
				<-release
				return "loaded", ctx.Err()
			})
			impatient <- err
		}()
		<-begun
		patient := make(chan string, 1)
		go func() {
			patient <- fetch(t, s.Cache, key, func(context.Context) (string, error) { return "loaded twice", nil })
		}()
		waitForCallers(t, 2)

		cancel()
		if err := <-impatient; !errors.Is(err, context.Canceled) {
			t.Errorf("the caller that gave up got %v", err)
		}
		close(release)
		if got := <-patient; got != "loaded" {
			t.Errorf("the caller that waited got %q", got)
		}
	})
}

func TestFetchWithAnEndedContextDoesNotLoad(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := cache.Fetch(ctx, s.Cache, cache.Key{Module: "users", Operation: "get"}, func(context.Context) (string, error) {
			t.Error("loaded")
			return "", nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestPanicReachesItsCallerAndLeavesTheCacheSound(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		key := cache.Key{Module: "users", Operation: "get"}
		failure := errors.New("index out of range")
		func() {
			defer func() {
				if err, _ := recover().(error); !errors.Is(err, failure) {
					t.Errorf("recovered %v, want it to wrap %v", err, failure)
				}
			}()
			_, _ = cache.Fetch(t.Context(), s.Cache, key, func(context.Context) (string, error) { panic(failure) })
		}()
		loader, _ := load("v")
		if got := fetch(t, s.Cache, key, loader); got != "v" {
			t.Errorf("got %q", got)
		}
	})
}

func TestSetGetDelete(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		key := cache.Key{Module: "users", Operation: "get", Params: 1}
		for _, want := range []string{"first", "second"} {
			must(t, s.Set(t.Context(), key, want))
			var got string
			if found, err := s.Get(t.Context(), key, &got); !found || err != nil || got != want {
				t.Errorf("got %q, %v, %v, want %q", got, found, err, want)
			}
		}
		must(t, s.Delete(t.Context(), key))
		must(t, s.Delete(t.Context(), key))
		if cached(t, s.Cache, key) {
			t.Error("deleted, and still there")
		}
	})
}

func TestSetIsNotOverwrittenByALoadThatBeganBefore(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		key := cache.Key{Module: "users", Operation: "get"}
		before := begin(t, s.Cache, key, "old")
		must(t, s.other.Set(t.Context(), key, "new"))
		before.end()
		loader, _ := load("newer")
		if got := fetch(t, s.Cache, key, loader); got != "new" {
			t.Errorf("got %q, want what was set", got)
		}
	})
}

func TestPolicyRefusesEntries(t *testing.T) {
	policy := registry.Policy{Operations: []registry.OperationPolicy{
		{Name: "profile", TTL: time.Hour, Scope: registry.ScopeUser},
		{Name: "page", TTL: time.Hour, MaxEntryBytes: 10},
	}}
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", policy)
		for _, key := range []cache.Key{
			{Module: "users", Operation: "profile"},
			{Module: "users", Operation: "page"},
			{Module: "users", Operation: "page", User: "ada"},
		} {
			value := strings.Repeat("x", 100)
			if err := s.Set(t.Context(), key, value); !errors.Is(err, cache.ErrRefused) {
				t.Errorf("Set of %+v: %v, want ErrRefused", key, err)
			}
			loader, _ := load(value)
			if got := fetch(t, s.Cache, key, loader); got != value {
				t.Errorf("Fetch of %+v: got %q", key, got)
			}
			if cached(t, s.Cache, key) {
				t.Errorf("%+v was stored", key)
			}
		}
		must(t, s.Set(t.Context(), cache.Key{Module: "users", Operation: "profile", User: "ada"}, "long enough to matter"))
		must(t, s.Set(t.Context(), cache.Key{Module: "users", Operation: "page"}, "short"))
	})
}

// Callers that forget the user ask with the same key; one must not get what was loaded for another.
func TestEntriesOfUsersAreNotSharedByCallersWithoutAUser(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", registry.Policy{Operations: []registry.OperationPolicy{
			{Name: "profile", TTL: time.Hour, Scope: registry.ScopeUser},
		}})
		key := cache.Key{Module: "users", Operation: "profile"}
		ada := begin(t, s.Cache, key, "Ada's profile")
		bob := make(chan string, 1)
		go func() {
			loader, _ := load("Bob's profile")
			bob <- fetch(t, s.Cache, key, loader)
		}()
		waitForCallers(t, 2)
		ada.end()
		if got := <-bob; got != "Bob's profile" {
			t.Errorf("Bob got %q", got)
		}
	})
}

func TestEntryOfAnotherTypeIsReplaced(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		key := cache.Key{Module: "users", Operation: "get"}
		must(t, s.Set(t.Context(), key, "a string, as of the last release"))

		loader, loads := load(user{Name: "Ada"})
		for range 2 {
			if got := fetch(t, s.Cache, key, loader); got.Name != "Ada" {
				t.Errorf("got %+v", got)
			}
		}
		if loads.count() != 1 {
			t.Errorf("%d loads, want 1", loads.count())
		}
		// This one decodes half-way.
		must(t, s.Set(t.Context(), key, map[string]any{"name": "Ada", "roles": "admin"}))
		var got user
		if found, err := s.Get(t.Context(), key, &got); found || err != nil || !reflect.DeepEqual(got, user{}) {
			t.Errorf("Get: %+v, %v, %v, want a miss that leaves no trace", got, found, err)
		}
	})
}

func TestWhatCannotBeStoredIsLoaded(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		unnamed := cache.Key{Module: "users", Operation: "get", Params: math.NaN()}
		loader, _ := load("v")
		if got := fetch(t, s.Cache, unnamed, loader); got != "v" {
			t.Errorf("got %q", got)
		}
		var dest string
		_, getErr := s.Get(t.Context(), unnamed, &dest)
		for verb, err := range map[string]error{
			"Get": getErr, "Set": s.Set(t.Context(), unnamed, "v"), "Delete": s.Delete(t.Context(), unnamed),
		} {
			if !errors.Is(err, cache.ErrParams) {
				t.Errorf("%s: %v, want ErrParams", verb, err)
			}
		}

		key := cache.Key{Module: "users", Operation: "get"}
		unencodable, loads := load(func() string { return "v" })
		for range 2 {
			if got := fetch(t, s.Cache, key, unencodable); got() != "v" {
				t.Errorf("got %q", got())
			}
		}
		if loads.count() != 2 {
			t.Errorf("%d loads, want 2", loads.count())
		}
		if err := s.Set(t.Context(), key, make(chan int)); !errors.Is(err, cache.ErrCodec) {
			t.Errorf("Set: %v, want ErrCodec", err)
		}
	})
}

// What comes back from the cache would be another value than that of the source.
func TestWhatDoesNotSurviveItsCodecIsLoaded(t *testing.T) {
	type account struct {
		Name string
		pin  string
	}
	type shape interface{ Area() int }
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		key := cache.Key{Module: "users", Operation: "get"}
		lossy, loads := load(account{"ada", "1234"})
		for range 3 {
			if got := fetch(t, s.Cache, key, lossy); got.pin != "1234" {
				t.Errorf("got %+v", got)
			}
		}
		if loads.count() != 3 || cached(t, s.Cache, key) {
			t.Errorf("%d loads, want 3 and nothing cached", loads.count())
		}
		if err := s.Set(t.Context(), key, account{"ada", "1234"}); !errors.Is(err, cache.ErrCodec) || cached(t, s.Cache, key) {
			t.Errorf("Set: %v, want ErrCodec and nothing cached", err)
		}
		whole, _ := load(account{Name: "bob"})
		fetch(t, s.Cache, key, whole)
		if got := fetch(t, s.Cache, key, lossy); got.Name != "bob" {
			t.Errorf("got %+v, want the value without a loss cached", got)
		}
		shapes, loads := load[shape](square{2})
		for range 2 {
			fetch(t, s.Cache, cache.Key{Module: "users", Operation: "shape"}, shapes)
		}
		if loads.count() != 2 {
			t.Errorf("%d loads of a value that no reader can decode, want 2", loads.count())
		}
		stats, err := s.Stats(t.Context(), "users")
		must(t, err)
		for _, o := range stats[0].Operations {
			if want := map[string]int64{"get": 3, "shape": 2}[o.Operation]; o.Errors < want {
				t.Errorf("%s: %d errors are counted, want %d", o.Operation, o.Errors, want)
			}
		}
	})
}

type square struct{ Side int }

func (s square) Area() int { return s.Side * s.Side }

// A destination may be used for one entry after another. What it held is neither merged with what
// is read into it, nor written to.
func TestDestinationIsReplacedNotMergedInto(t *testing.T) {
	type profile struct {
		Name  string          `json:"name"`
		Nick  string          `json:"nick,omitempty"`
		Tags  []string        `json:"tags"`
		Roles map[string]bool `json:"roles"`
	}
	newAda := func() *profile {
		return &profile{Name: "Ada", Nick: "countess", Tags: []string{"a"}, Roles: map[string]bool{"admin": true}}
	}
	bob := profile{Name: "Bob", Tags: []string{"b"}, Roles: map[string]bool{"reader": true}}
	key := cache.Key{Module: "users", Operation: "get", User: "bob"}
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		must(t, s.Set(t.Context(), key, bob))
		loaded := func(context.Context) (any, error) { return nil, errors.New("loaded") }
		for name, read := range map[string]func(*testing.T, any){
			"Fetch": func(t *testing.T, dest any) { must(t, s.Fetch(t.Context(), key, dest, loaded)) },
			"Get": func(t *testing.T, dest any) {
				found, err := s.Get(t.Context(), key, dest)
				must(t, err)
				if !found {
					t.Fatal("a miss")
				}
			},
			"a load that is joined": func(t *testing.T, dest any) { joinLoad(t, s, dest, bob) },
		} {
			ada := newAda()
			pointer, value, dynamic := ada, *ada, any(ada)
			for kind, dest := range map[string]any{"a pointer": &pointer, "a struct": &value, "an any": &dynamic} {
				read(t, dest)
				if !reflect.DeepEqual(ada, newAda()) {
					t.Fatalf("%s into %s: what it held, and others may have, was changed to %+v", name, kind, ada)
				}
			}
			if !reflect.DeepEqual(pointer, &bob) || !reflect.DeepEqual(value, bob) {
				t.Errorf("%s: got %+v and %+v, want %+v", name, pointer, value, bob)
			}
			if got, _ := dynamic.(map[string]any); got["name"] != "Bob" || got["nick"] != nil {
				t.Errorf("%s: got %+v", name, dynamic)
			}
		}
	})
}

// joinLoad reads into dest by joining another caller's load of a value.
func joinLoad(t *testing.T, s subject, dest, value any) {
	t.Helper()
	key := cache.Key{Module: "users", Operation: "join", User: "bob"}
	must(t, s.Delete(t.Context(), key))
	begun, release, joined := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	first := make(chan error, 1)
	go func() {
		var own any
		first <- s.Fetch(t.Context(), key, &own, func(context.Context) (any, error) {
			close(begun)
			<-release
			return value, nil
		})
	}()
	<-begun
	go func() {
		joined <- s.Fetch(t.Context(), key, dest, func(context.Context) (any, error) { return nil, errors.New("loaded twice") })
	}()
	waitForCallers(t, 2)
	close(release)
	must(t, errors.Join(<-first, <-joined))
}

func TestDestinationMustBeAPointer(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		key := cache.Key{Module: "users", Operation: "get"}
		for _, dest := range []any{nil, "", (*string)(nil)} {
			if _, err := s.Get(t.Context(), key, dest); err == nil {
				t.Errorf("Get into %#v: no error", dest)
			}
			err := s.Fetch(t.Context(), key, dest, func(context.Context) (any, error) {
				t.Errorf("Fetch into %#v: loaded", dest)
				return "", nil
			})
			if err == nil {
				t.Errorf("Fetch into %#v: no error", dest)
			}
		}
		var number int
		if err := s.Fetch(t.Context(), key, &number, func(context.Context) (any, error) { return "text", nil }); err == nil {
			t.Error("Fetch of a text into a number: no error")
		}
	})
}

func TestInvalidationWantsNames(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		key := cache.Key{Module: "users", Operation: "get"}
		must(t, s.Set(t.Context(), key, "v"))
		for name, err := range map[string]error{
			"module":               s.InvalidateModule(t.Context(), ""),
			"operation":            s.InvalidateOperation(t.Context(), "users", ""),
			"operation's module":   s.InvalidateOperation(t.Context(), "", "get"),
			"user":                 s.InvalidateUser(t.Context(), "", "users"),
			"user in every module": s.InvalidateUser(t.Context(), ""),
			"user's module":        s.InvalidateUser(t.Context(), "ada", ""),
		} {
			if err == nil {
				t.Errorf("an empty %s was accepted", name)
			}
		}
		if !cached(t, s.Cache, key) {
			t.Error("an empty name invalidated an entry")
		}
	})
}

func TestTTL(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		policy := everything(time.Minute)
		policy.Operations = []registry.OperationPolicy{{Name: "list", TTL: 180 * time.Second}, {Name: "create"}}
		s.setPolicy("users", policy)
		s.setPolicy("posts", registry.Policy{})
		for _, test := range []struct {
			module, operation string
			want              time.Duration
		}{
			{"users", "list", 180 * time.Second},
			{"users", "create", 0},
			{"users", "getById", time.Minute},
			{"posts", "list", 0},
		} {
			if got, err := s.TTL(t.Context(), test.module, test.operation); got != test.want || err != nil {
				t.Errorf("TTL(%s, %s): %s, %v, want %s", test.module, test.operation, got, err, test.want)
			}
		}
	})
}

func TestPolicyChangeIsObeyed(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		key, own := cache.Key{Module: "users", Operation: "get"}, cache.Key{Module: "users", Operation: "get", User: "ada"}
		must(t, s.Set(t.Context(), key, "v"))
		must(t, s.Set(t.Context(), own, "v"))

		s.setPolicy("users", registry.Policy{Operations: []registry.OperationPolicy{{Name: "get", TTL: time.Hour, Scope: registry.ScopeUser}}})
		if cached(t, s.Cache, key) {
			t.Error("a shared entry stayed when the scope became User")
		}
		must(t, s.Set(t.Context(), own, "v"))
		s.setPolicy("users", registry.Policy{Operations: []registry.OperationPolicy{{Name: "get"}}})
		if cached(t, s.Cache, own) {
			t.Error("an entry stayed when its TTL became 0")
		}
	})
}

func TestStats(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("posts", everything(time.Hour))
		s.setPolicy("users", registry.Policy{Operations: []registry.OperationPolicy{
			{Name: "list", TTL: time.Hour}, {Name: "get", TTL: time.Minute}, {Name: "create"},
		}})
		loader, _ := load("v")
		for range 4 {
			fetch(t, s.Cache, cache.Key{Module: "users", Operation: "list"}, loader)
		}
		fetch(t, s.Cache, cache.Key{Module: "users", Operation: "list", Params: 2, User: "ada"}, loader)
		fetch(t, s.Cache, cache.Key{Module: "users", Operation: "create"}, loader)
		fetch(t, s.Cache, cache.Key{Module: "posts", Operation: "feed"}, loader)
		cached(t, s.Cache, cache.Key{Module: "posts", Operation: "feed", Params: 2})

		users := cache.ModuleStats{Module: "users", Keys: 2, Operations: []cache.OperationStats{
			{Operation: "create"},
			{Operation: "get", TTL: time.Minute},
			{Operation: "list", TTL: time.Hour, Keys: 2, Hits: 3, Misses: 2},
		}}
		posts := cache.ModuleStats{Module: "posts", Keys: 1, Operations: []cache.OperationStats{
			{Operation: "feed", TTL: time.Hour, Keys: 1, Misses: 2},
		}}
		for _, test := range []struct{ modules, want []string }{
			{nil, []string{"posts", "users"}},
			{[]string{"users"}, []string{"users"}},
			{[]string{"users", "posts", "users"}, []string{"posts", "users"}},
		} {
			got, err := s.Stats(t.Context(), test.modules...)
			must(t, err)
			want := map[string]cache.ModuleStats{"users": users, "posts": posts}
			var names []string
			for _, module := range got {
				names = append(names, module.Module)
				if !reflect.DeepEqual(module, want[module.Module]) {
					t.Errorf("got %+v, want %+v", module, want[module.Module])
				}
			}
			if !slices.Equal(names, test.want) {
				t.Errorf("Stats(%v) has %v, want %v", test.modules, names, test.want)
			}
		}
		if got := users.HitRatio(); got != 0.6 {
			t.Errorf("the hit ratio of users is %v, want 0.6", got)
		}
		if got := users.Operations[0].HitRatio(); got != 0 {
			t.Errorf("the hit ratio of what was never read is %v, want 0", got)
		}
		if _, err := s.Stats(t.Context(), ""); err == nil {
			t.Error("an empty module was accepted")
		}
	})
}
