// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package touched

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cachewright/cachewright/cache"
)

func key(operation string, params any) cache.Key {
	return cache.Key{Module: "users", Operation: operation, Params: params}
}

func manyKeys(n int) []cache.Covered {
	var keys []cache.Covered
	for i := range n {
		keys = append(keys, key("get", i))
	}
	return keys
}

func manyScopes(n int, of func(i int) cache.Scope) []cache.Covered {
	var scopes []cache.Covered
	for i := range n {
		scopes = append(scopes, of(i))
	}
	return scopes
}

func TestWhatIsKept(t *testing.T) {
	t.Parallel()
	ofUser := func(i int) cache.Scope { return cache.Scope{Module: "users", User: fmt.Sprint(i)} }
	everywhere := func(i int) cache.Scope { return cache.Scope{User: fmt.Sprint(i)} }
	operation, module := cache.Scope{Module: "users", Operation: "get"}, cache.Scope{Module: "users"}
	rows := map[string]struct {
		on   []cache.Covered
		want []cache.Covered // nil: all of on
	}{
		"nothing": {nil, nil},
		"a key":   {[]cache.Covered{key("get", 1)}, nil},
		"a key twice": {[]cache.Covered{key("get", map[string]int{"a": 1}), key("get", struct {
			A int `json:"a"`
		}{1})}, []cache.Covered{key("get", struct {
			A int `json:"a"`
		}{1})}},
		"a key of two users":     {[]cache.Covered{key("get", 1), cache.Key{Module: "users", Operation: "get", Params: 1, User: "ada"}}, nil},
		"keys that are bounded":  {manyKeys(256), nil},
		"too many keys":          {manyKeys(257), []cache.Covered{operation}},
		"keys, then all of them": {[]cache.Covered{key("get", 1), key("list", 1), operation}, []cache.Covered{operation, key("list", 1)}},
		"all, then keys":         {[]cache.Covered{operation, key("get", 1)}, []cache.Covered{operation}},
		"a module":               {[]cache.Covered{key("get", 1), operation, module, key("list", 2), ofUser(1)}, []cache.Covered{module}},
		"too many users":         {manyScopes(257, ofUser), []cache.Covered{module}},
		"users everywhere":       {manyScopes(256, everywhere), nil},
	}
	for name, row := range rows {
		var set, merged Set
		if err := errors.Join(set.Add(row.on...), merged.Merge(&set)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if row.want == nil {
			row.want = row.on
		}
		for _, got := range [][]cache.Covered{set.Covered(), merged.Covered()} {
			if !slices.Equal(texts(got), texts(row.want)) {
				t.Errorf("%s: got %v", name, texts(got))
			}
		}
	}
}

func texts(on []cache.Covered) []string {
	all := []string{}
	for _, thing := range on {
		all = append(all, fmt.Sprintf("%T %+v", thing, thing))
	}
	slices.Sort(all)
	return all
}

func TestWhatCannotBeTouched(t *testing.T) {
	t.Parallel()
	for name, thing := range map[string]cache.Covered{
		"no module": cache.Key{Operation: "get"}, "no operation": cache.Key{Module: "users"},
		"an operation of no module": cache.Scope{Operation: "get"}, "nothing": cache.Scope{}, "nil": nil,
		"an operation of a user everywhere": cache.Scope{Operation: "get", User: "ada"},
	} {
		var set Set
		if err := set.Add(thing); err == nil || len(set.Covered()) != 0 {
			t.Errorf("%s was taken: %v", name, set.Covered())
		}
	}
	var set Set
	if err := set.Add(key("get", func() {})); !errors.Is(err, cache.ErrParams) {
		t.Errorf("got %v", err)
	}
	for i := range 257 {
		err := set.Add(cache.Scope{User: fmt.Sprint(i)})
		if (err != nil) != (i == 256) {
			t.Errorf("user %d everywhere: %v", i, err)
		}
	}
}
