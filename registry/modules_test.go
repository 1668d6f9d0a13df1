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

// noOthers is a namespace with no other modules than the one that is listed.
func noOthers() ([]string, error) { return nil, nil }

// A list with some of the modules of a namespace would hide the others from an invalidation of a
// user.
func TestAModuleJoinsAListAndBeginsNone(t *testing.T) {
	r, client := newRegistry(t)
	unknown := errors.New("others are not known")
	list := func(module string, others []string, met error) error {
		return r.EnsureListed(t.Context(), Slot{Namespace: "shop", Module: module}, func() ([]string, error) { return others, met })
	}
	want := func(namespace string, modules ...string) {
		t.Helper()
		if got, err := r.Modules(t.Context(), namespace); err != nil || !slices.Equal(got, modules) {
			t.Errorf("%s has %v (%v); want %v", namespace, got, err, modules)
		}
	}
	if err := list("a", nil, unknown); !errors.Is(err, unknown) {
		t.Errorf("without a list, got %v", err)
	}
	if _, err := r.Modules(t.Context(), "shop"); !errors.Is(err, ErrModulesUnknown) {
		t.Errorf("a list was begun (%v)", err)
	}
	if err := r.AddAllModules(t.Context(), map[string][]string{"shop": {"a", "b"}, "blog": {"posts"}, "empty": nil}); err != nil {
		t.Fatal(err)
	}
	for _, module := range []string{"a", "c"} {
		if err := list(module, nil, unknown); err != nil {
			t.Errorf("%s needs the others (%v)", module, err)
		}
	}
	want("shop", "a", "b", "c")
	want("blog", "posts")
	client.Del(t.Context(), keyspace.ModulesKey("shop"))
	if err := list("c", []string{"a", "b"}, nil); err != nil {
		t.Fatal(err)
	}
	want("shop", "a", "b", "c")
}

func TestManyModulesJoinAtATime(t *testing.T) {
	r, _ := newRegistry(t)
	const many = 50
	var joining sync.WaitGroup
	for i := range many {
		joining.Go(func() {
			slot := Slot{Namespace: "shop", Module: fmt.Sprint(i)}
			if err := r.EnsureListed(t.Context(), slot, noOthers); err != nil {
				t.Error(err)
			}
		})
	}
	joining.Wait()
	if modules, err := r.Modules(t.Context(), "shop"); err != nil || len(modules) != many {
		t.Errorf("%d modules are listed (%v)", len(modules), err)
	}
}
