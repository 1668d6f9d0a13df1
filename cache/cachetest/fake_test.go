// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest_test

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
)

func TestFakeCachesWithoutAPolicy(t *testing.T) {
	fake := cachetest.New()
	loader, loads := load("v")
	for range 2 {
		fetch(t, fake, cache.Key{Module: "users", Operation: "get"}, loader)
	}
	if loads.count() != 1 {
		t.Errorf("%d loads, want 1", loads.count())
	}
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
		{Method: "TTL", Module: "users", Operation: "get"},
		{Method: "Stats", Modules: []string{"users"}},
	}
	if got := fake.Calls(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestFakeFails(t *testing.T) {
	fake := cachetest.New()
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
	} {
		if !errors.Is(err, down) {
			t.Errorf("%s: %v, want %v", method, err, down)
		}
	}
	fake.Fail(nil)
	if got := fetch(t, fake, key, loader); got != "cached" {
		t.Errorf("after the failure: got %q", got)
	}
}
