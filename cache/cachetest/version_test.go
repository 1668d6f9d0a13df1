// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest_test

import (
	"testing"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
)

// Each version reads what it stored itself, and deletes what any has stored.
func TestVersionsOfAnApplicationShareACache(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		key := cache.Key{Module: "users", Operation: "get", Params: 1}
		loadOld, old := load("old")
		loadNew, newer := load("new")
		for _, loads := range []int{1, 2} {
			for range 2 {
				if got := fetch(t, s.Cache, key, loadOld); got != "old" {
					t.Errorf("the old version reads %q", got)
				}
			}
			if cached(t, s.newer, key) {
				t.Error("the new version reads what the old one stored")
			}
			for range 2 {
				if got := fetch(t, s.newer, key, loadNew); got != "new" {
					t.Errorf("the new version reads %q", got)
				}
			}
			if old.count() != loads || newer.count() != loads {
				t.Errorf("%d and %d loads, want %d of each", old.count(), newer.count(), loads)
			}
		}
		must(t, s.Delete(t.Context(), key))
		if cached(t, s.newer, key) {
			t.Error("the new version reads what the old one deleted")
		}
	})
}

func TestSchemasOfTheFakeAreThoseOfTheClient(t *testing.T) {
	fake := cachetest.New(cachetest.WithDefaultTTL(time.Hour))
	some := fake.WithSchema("v2", cache.Operation{Module: "users", Name: "get"})
	loader, loads := load("value")
	for _, c := range []cache.Cache{fake, some} {
		fetch(t, c, cache.Key{Module: "users", Operation: "get"}, loader)
		fetch(t, c, cache.Key{Module: "users", Operation: "list"}, loader)
	}
	if loads.count() != 3 {
		t.Errorf("%d loads, want two of users.get and one of users.list", loads.count())
	}
	defer func() {
		if recover() == nil {
			t.Error("a schema that cache.New refuses is accepted")
		}
	}()
	fake.WithSchema("v 2")
}
