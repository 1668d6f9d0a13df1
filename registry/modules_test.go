// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/cachewright/cachewright/registry/internal/keyspace"
)

func TestModules(t *testing.T) {
	r, client := newRegistry(t)
	if _, err := r.Modules(t.Context(), "shop"); !errors.Is(err, ErrModulesUnknown) {
		t.Errorf("got %v", err)
	}
	if err := r.AddModules(t.Context(), "shop", "b", "a"); err != nil {
		t.Fatal(err)
	}
	apply(t, r, Slot{Namespace: "shop", Module: "c"}, caching())
	if _, err := r.DeletePolicy(t.Context(), Slot{Namespace: "shop", Module: "a"}); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Modules(t.Context(), "shop"); err != nil || !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("got %v (%v)", got, err)
	}
	client.Del(t.Context(), keyspace.ModulesKey("shop"))
	if _, err := r.Modules(t.Context(), "shop"); !errors.Is(err, ErrModulesUnknown) {
		t.Errorf("an evicted list reads as %v", err)
	}
}

// A list with some of the modules of a namespace would hide the others from an invalidation of a
// user.
func TestAModuleJoinsAListAndBeginsNone(t *testing.T) {
	r, _ := newRegistry(t)
	join := func(module string, want bool) {
		t.Helper()
		if joined, err := r.JoinModules(t.Context(), Slot{Namespace: "shop", Module: module}); err != nil || joined != want {
			t.Errorf("%s: joined %t (%v); want %t", module, joined, err, want)
		}
	}
	join("a", false)
	if _, err := r.Modules(t.Context(), "shop"); !errors.Is(err, ErrModulesUnknown) {
		t.Errorf("a list was begun (%v)", err)
	}
	if err := r.AddAllModules(t.Context(), map[string][]string{"shop": {"a", "b"}, "blog": {"posts"}, "empty": nil}); err != nil {
		t.Fatal(err)
	}
	join("a", true)
	join("c", true)
	for namespace, want := range map[string][]string{"shop": {"a", "b", "c"}, "blog": {"posts"}} {
		if got, err := r.Modules(t.Context(), namespace); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s has %v (%v); want %v", namespace, got, err, want)
		}
	}
}

// JoinModules says correctly whether a module is in the list while others write the list.
func TestManyModulesJoinAtATime(t *testing.T) {
	r, _ := newRegistry(t)
	if err := r.AddModules(t.Context(), "shop", "first"); err != nil {
		t.Fatal(err)
	}
	const many = 50
	var joined [many]bool
	var joining sync.WaitGroup
	for i := range many {
		joining.Go(func() {
			var err error
			if joined[i], err = r.JoinModules(t.Context(), Slot{Namespace: "shop", Module: fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	joining.Wait()
	modules, err := r.Modules(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	for i := range many {
		if is := slices.Contains(modules, fmt.Sprint(i)); is != joined[i] {
			t.Errorf("module %d is listed: %t; the call said %t", i, is, joined[i])
		}
	}
}
