// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/registry"
)

// stored returns the string in an entry, "" if there is none.
func stored(t *testing.T, c cache.Cache, key cache.Key) string {
	t.Helper()
	var value string
	_, err := c.Get(t.Context(), key, &value)
	must(t, err)
	return value
}

func TestEntryPastItsTTLIsServedWhileItIsReloaded(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", registry.Policy{Operations: []registry.OperationPolicy{
			{Name: "list", TTL: 50 * time.Millisecond, StaleFor: time.Hour},
		}})
		key := cache.Key{Module: "users", Operation: "list"}
		must(t, s.Set(t.Context(), key, "old"))
		s.elapse(50 * time.Millisecond)
		loader, loads := load("new")
		NewWithT(t).Eventually(func() int {
			if got := fetch(t, s.Cache, key, loader); got != "old" && loads.count() == 0 {
				t.Errorf("got %q although nothing was loaded", got)
			}
			return loads.count()
		}).WithTimeout(waitTimeout).ShouldNot(BeZero())
		NewWithT(t).Eventually(func() string { return stored(t, s.Cache, key) }).WithTimeout(waitTimeout).Should(Equal("new"))
	})
}

func TestSoftInvalidationMakesStaleExactlyWhatItNames(t *testing.T) {
	all := []cache.Key{
		{Module: "users", Operation: "get"},
		{Module: "users", Operation: "get", User: "ada"},
		{Module: "users", Operation: "list", User: "ada"},
		{Module: "users", Operation: "list", User: "bob"},
		{Module: "posts", Operation: "get", User: "ada"},
	}
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		s.setPolicy("posts", everything(time.Hour))
		for _, scope := range []cache.Scope{
			{Module: "users"},
			{Module: "users", Operation: "list"},
			{Module: "users", User: "ada"},
			{Module: "users", Operation: "list", User: "ada"},
			{User: "ada"},
		} {
			for _, key := range all {
				must(t, s.Set(t.Context(), key, "old"))
			}
			must(t, s.other.InvalidateSoftly(t.Context(), scope))
			for _, key := range all {
				loader, loads := load("new")
				if got := fetch(t, s.Cache, key, loader); got != "old" {
					t.Errorf("%+v: %+v: got %q, want what is there", scope, key, got)
				}
				if covers(scope, key) {
					NewWithT(t).Eventually(func() string { return stored(t, s.Cache, key) }).
						WithTimeout(waitTimeout).Should(Equal("new"), "%+v: %+v", scope, key)
				}
				if want := covers(scope, key); (loads.count() == 1) != want {
					t.Errorf("%+v: %+v: loaded %d times, want it to be %v", scope, key, loads.count(), want)
				}
			}
		}
	})
}

func covers(s cache.Scope, key cache.Key) bool {
	return (s.Module == "" || s.Module == key.Module) && (s.Operation == "" || s.Operation == key.Operation) && (s.User == "" || s.User == key.User)
}

func TestSoftInvalidationWantsNames(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		for _, scope := range []cache.Scope{{}, {Operation: "list"}, {Operation: "list", User: "ada"}} {
			if err := s.InvalidateSoftly(t.Context(), scope); err == nil {
				t.Errorf("%+v was accepted", scope)
			}
		}
	})
}

func TestStaleEntryIsServedWhereItsLoadFails(t *testing.T) {
	failures := map[string]func() (string, error){
		"an error": func() (string, error) { return "", errors.New("the source is down") },
		"a panic":  func() (string, error) { panic("the source is down") },
	}
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		for name, fail := range failures {
			key := cache.Key{Module: "users", Operation: "get", Params: name}
			must(t, s.Set(t.Context(), key, "old"))
			must(t, s.InvalidateSoftly(t.Context(), cache.Scope{Module: "users"}))
			attempts := &counter{}
			failing := func(context.Context) (string, error) {
				attempts.add()
				return fail()
			}
			for range 3 {
				if got := fetch(t, s.Cache, key, failing); got != "old" {
					t.Errorf("%s: got %q", name, got)
				}
			}
			NewWithT(t).Eventually(attempts.count).WithTimeout(waitTimeout).ShouldNot(BeZero())
			if got := fetch(t, s.Cache, key, failing); got != "old" {
				t.Errorf("%s: got %q", name, got)
			}
			loader, _ := load("new") // the source is back
			NewWithT(t).Eventually(func() string { return fetch(t, s.Cache, key, loader) }).WithTimeout(waitTimeout).Should(Equal("new"))
		}
	})
}

func TestHardInvalidationTakesStaleEntriesToo(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		key := cache.Key{Module: "users", Operation: "get"}
		must(t, s.Set(t.Context(), key, "old"))
		must(t, s.InvalidateSoftly(t.Context(), cache.Scope{Module: "users"}))
		must(t, s.InvalidateModule(t.Context(), "users"))
		loader, _ := load("new")
		if got := fetch(t, s.Cache, key, loader); got != "new" {
			t.Errorf("got %q", got)
		}
	})
}

func TestStaleReadsAreCounted(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		key := cache.Key{Module: "users", Operation: "get"}
		must(t, s.Set(t.Context(), key, "old"))
		before, err := s.Stats(t.Context(), "users")
		must(t, err)
		must(t, s.InvalidateSoftly(t.Context(), cache.Scope{Module: "users"}))
		cached(t, s.Cache, key)
		loader, _ := load("new")
		fetch(t, s.Cache, key, loader)
		NewWithT(t).Eventually(func() string { return stored(t, s.other, key) }).WithTimeout(waitTimeout).Should(Equal("new"))
		after, err := s.Stats(t.Context(), "users")
		must(t, err)
		if stale := after[0].Operations[0].Stale - before[0].Operations[0].Stale; stale < 2 {
			t.Errorf("%d stale reads, want the Get and the Fetch", stale)
		}
	})
}
