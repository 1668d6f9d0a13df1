// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
)

// As in production: an application that relies on being cached without a policy is wrong.
func TestFakeCachesNothingWithoutAPolicy(t *testing.T) {
	for name, test := range map[string]struct {
		fake  *cachetest.Fake
		loads int
	}{
		"by default":         {cachetest.New(), 2},
		"with a default TTL": {cachetest.New(cachetest.WithDefaultTTL(cachetest.DefaultTTL)), 1},
	} {
		loader, loads := load("v")
		for range 2 {
			fetch(t, test.fake, cache.Key{Module: "users", Operation: "get"}, loader)
		}
		if loads.count() != test.loads {
			t.Errorf("%s: %d loads, want %d", name, loads.count(), test.loads)
		}
	}
}

func TestFakePurgesOnceForEachRevisionAsRedisDoes(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		key := cache.Key{Module: "users", Operation: "get"}
		revise := func(revision string) {
			policy := everything(time.Hour)
			policy.Revision = revision
			s.setPolicy("users", policy)
		}
		revise("r1")
		must(t, s.Set(t.Context(), key, "v"))
		for _, revision := range []string{"", "r1"} {
			revise(revision)
			if !cached(t, s, key) {
				t.Errorf("%q purges", revision)
			}
		}
		revise("r2")
		if cached(t, s, key) {
			t.Error("another revision does not purge")
		}
	})
}

func TestFakeRecordsCalls(t *testing.T) {
	fake := cachetest.New()
	key := cache.Key{Module: "users", Operation: "get", Params: 7, User: "ada"}
	loader, _ := load("v")
	fetch(t, fake, key, loader)
	cached(t, fake, key)
	must(t, fake.Set(t.Context(), key, "v"))
	must(t, fake.Delete(t.Context(), key))
	must(t, fake.InvalidateModule(t.Context(), "users"))
	must(t, fake.InvalidateOperation(t.Context(), "users", "get"))
	must(t, fake.InvalidateUser(t.Context(), "ada", "users", "posts"))
	must(t, fake.InvalidateSoftly(t.Context(), cache.Scope{Module: "users", User: "ada"}))
	_, err := fake.TTL(t.Context(), "users", "get")
	must(t, err)
	_, err = fake.Stats(t.Context(), "users")
	must(t, err)

	onKey := func(method string) cachetest.Call {
		return cachetest.Call{Method: method, Module: "users", Operation: "get", Params: 7, User: "ada"}
	}
	want := []cachetest.Call{
		onKey("Fetch"),
		onKey("Get"),
		onKey("Set"),
		onKey("Delete"),
		{Method: "InvalidateModule", Module: "users"},
		{Method: "InvalidateOperation", Module: "users", Operation: "get"},
		{Method: "InvalidateUser", User: "ada", Modules: []string{"users", "posts"}},
		{Method: "InvalidateSoftly", Module: "users", User: "ada"},
		{Method: "TTL", Module: "users", Operation: "get"},
		{Method: "Stats", Modules: []string{"users"}},
	}
	if got := fake.Calls(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestFakeFails(t *testing.T) {
	fake := cachetest.New(cachetest.WithDefaultTTL(time.Hour))
	key := cache.Key{Module: "users", Operation: "get"}
	must(t, fake.Set(t.Context(), key, "cached"))
	down := errors.New("redis is down")
	fake.Fail(down)

	loader, _ := load("loaded")
	if got := fetch(t, fake, key, loader); got != "loaded" {
		t.Errorf("Fetch: got %q", got)
	}
	ctx := context.Background()
	var dest string
	_, getErr := fake.Get(ctx, key, &dest)
	_, ttlErr := fake.TTL(ctx, "users", "get")
	_, statsErr := fake.Stats(ctx)
	for method, err := range map[string]error{
		"Get": getErr, "Set": fake.Set(ctx, key, "v"), "Delete": fake.Delete(ctx, key), "TTL": ttlErr, "Stats": statsErr,
		"InvalidateModule":    fake.InvalidateModule(ctx, "users"),
		"InvalidateOperation": fake.InvalidateOperation(ctx, "users", "get"),
		"InvalidateUser":      fake.InvalidateUser(ctx, "ada"),
		"InvalidateSoftly":    fake.InvalidateSoftly(ctx, cache.Scope{Module: "users"}),
	} {
		if !errors.Is(err, down) {
			t.Errorf("%s: %v, want %v", method, err, down)
		}
	}
	fake.Fail(nil)
	if got := fetch(t, fake, key, loader); got != "loaded" {
		t.Errorf("after the failure: got %q, want what was loaded after the invalidations", got)
	}
}

func TestFakeKeepsItsEntriesWhileItFails(t *testing.T) {
	fake := cachetest.New(cachetest.WithDefaultTTL(time.Hour))
	key, other := cache.Key{Module: "users", Operation: "get"}, cache.Key{Module: "users", Operation: "list"}
	must(t, fake.Set(t.Context(), key, "cached"))
	must(t, fake.Set(t.Context(), other, "cached"))
	fake.Fail(errors.New("redis is down"))
	for verb, err := range map[string]error{
		"InvalidateOperation": fake.InvalidateOperation(t.Context(), "users", "list"),
		"Delete":              fake.Delete(t.Context(), other),
	} {
		if !errors.Is(err, cache.ErrQueued) {
			t.Errorf("%s: %v, want ErrQueued", verb, err)
		}
	}
	fake.Fail(nil)
	if !cached(t, fake, key) || cached(t, fake, other) {
		t.Error("the failure did not end with just the invalidated entry gone")
	}
}
