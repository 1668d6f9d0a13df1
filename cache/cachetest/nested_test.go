// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
)

func inModule(module string) cache.Key { return cache.Key{Module: module, Operation: "get"} }

// inTime fails the test if what must not hang does.
func inTime[T any](t *testing.T, what string, results <-chan T) T {
	t.Helper()
	select {
	case result := <-results:
		return result
	case <-time.After(waitTimeout):
		t.Fatalf("%s hangs", what)
		panic("unreachable")
	}
}

// fetching runs a Fetch on a goroutine of its own, and returns where its error will be.
func fetching(ctx context.Context, c cache.Cache, key cache.Key, load func(context.Context) (string, error)) <-chan error {
	failed := make(chan error, 1)
	go func() {
		_, err := cache.Fetch(ctx, c, key, load)
		failed <- err
	}()
	return failed
}

func TestALoaderThatFetchesItsOwnEntryGetsAnErrorAndNobodyHangs(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		for name, policy := range map[string]time.Duration{"cached": time.Minute, "not cached": 0} {
			t.Run(name, func(t *testing.T) {
				s.setPolicy("users", everything(policy))
				loads := &counter{}
				var load func(ctx context.Context) (string, error)
				load = func(ctx context.Context) (string, error) {
					loads.add()
					return cache.Fetch(ctx, s.Cache, inModule("users"), load)
				}
				if err := inTime(t, "the loader", fetching(t.Context(), s, inModule("users"), load)); !errors.Is(err, cache.ErrLoadCycle) {
					t.Errorf("got %v, want ErrLoadCycle", err)
				}
				if n := loads.count(); n != 2 {
					t.Errorf("%d loads, want 2", n)
				}
			})
		}
		s.setPolicy("users", everything(time.Minute))
		later, _ := load("later")
		if got := fetch(t, s, inModule("users"), later); got != "later" {
			t.Errorf("a later caller got %q", got)
		}
	})
}

func TestLoadersThatFetchEachOthersEntriesGetAnErrorAndNobodyHangs(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Minute))
		s.setPolicy("posts", everything(time.Minute))
		var ofUsers, ofPosts func(ctx context.Context) (string, error)
		// Both loads have begun before either asks for the other's entry.
		begun := &sync.WaitGroup{}
		begun.Add(2)
		var first [2]atomic.Bool
		meet := func(i int) {
			if !first[i].Swap(true) {
				begun.Done()
				begun.Wait()
			}
		}
		ofUsers = func(ctx context.Context) (string, error) {
			meet(0)
			return cache.Fetch(ctx, s.Cache, inModule("posts"), ofPosts)
		}
		ofPosts = func(ctx context.Context) (string, error) {
			meet(1)
			return cache.Fetch(ctx, s.Cache, inModule("users"), ofUsers)
		}
		users := fetching(t.Context(), s, inModule("users"), ofUsers)
		posts := fetching(t.Context(), s, inModule("posts"), ofPosts)
		for what, failed := range map[string]<-chan error{"users": users, "posts": posts} {
			if err := inTime(t, what, failed); !errors.Is(err, cache.ErrLoadCycle) {
				t.Errorf("%s: got %v, want ErrLoadCycle", what, err)
			}
		}
	})
}

func TestALoaderWhoseInnerFetchOfTheSameEntryReadsTheSourceGetsItsValue(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Minute))
		source, loads := load("from the source")
		outer := func(ctx context.Context) (string, error) {
			return cache.Fetch(ctx, s.Cache, inModule("users"), source)
		}
		if err := inTime(t, "the loader", fetching(t.Context(), s, inModule("users"), outer)); err != nil {
			t.Error(err)
		}
		if got := fetch(t, s, inModule("users"), outer); got != "from the source" || loads.count() != 1 {
			t.Errorf("got %q after %d loads, want what was cached by 1", got, loads.count())
		}
	})
}

func TestConcurrentLoadersOnOtherGoroutinesWithTheSameContextDoNotHang(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Minute))
		var load func(ctx context.Context) (string, error)
		load = func(ctx context.Context) (string, error) {
			return "", errors.Join(<-fetching(ctx, s, inModule("users"), load), <-fetching(ctx, s, inModule("users"), load))
		}
		if err := inTime(t, "the loader", fetching(t.Context(), s, inModule("users"), load)); !errors.Is(err, cache.ErrLoadCycle) {
			t.Errorf("got %v, want ErrLoadCycle", err)
		}
	})
}

func TestALoaderOfTheFakeThatDoesNotPassItsContextOnGetsAnErrorInTime(t *testing.T) {
	fake := cachetest.New(cachetest.WithSharedLoadWait(time.Millisecond))
	fake.SetPolicy("users", everything(time.Minute))
	var load func(ctx context.Context) (string, error)
	load = func(context.Context) (string, error) {
		return cache.Fetch(context.Background(), fake, inModule("users"), load)
	}
	if err := inTime(t, "the loader", fetching(t.Context(), fake, inModule("users"), load)); !errors.Is(err, cache.ErrLoadStuck) {
		t.Errorf("got %v, want ErrLoadStuck", err)
	}
}
