// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
)

func TestExplainNothing(t *testing.T) {
	users := &v1.CachePolicySpec{Module: "users", Operations: []v1.OperationPolicy{
		{Name: "list", TTL: controllertest.Minutes(3)}, {Name: "create", TTL: controllertest.Minutes(0)},
	}}
	posts := &v1.CachePolicySpec{Module: "posts", DefaultTTL: new(controllertest.Minutes(1))}
	view := &Namespace{
		name: "shop", Modules: []string{"posts", "retained", "users"},
		policies: map[string]*v1.CachePolicySpec{"users": users, "posts": posts},
	}
	const secret = "user-123"
	tests := []struct {
		target v1.InvalidationTarget
		want   string
	}{
		{v1.InvalidationTarget{Module: "usrs"}, "no such module: no CachePolicy of namespace shop declares usrs and Redis does not know it; there are: posts, retained, users"},
		{v1.InvalidationTarget{Module: "users", Operation: "lst"}, "no such operation: the policy of module users has no lst and caches none it does not list; there are: list, create"},
		{v1.InvalidationTarget{Module: "users", Operation: "create"}, "operation create of module users is not cached: its ttl is 0"},
		{v1.InvalidationTarget{Module: "users", Operation: "list"}, "nothing is cached for operation list of module users"},
		{v1.InvalidationTarget{Module: "posts", Operation: "any"}, "nothing is cached for operation any of module posts"},
		{v1.InvalidationTarget{Module: "retained", Operation: "any"}, "nothing is cached for operation any of module retained"},
		{v1.InvalidationTarget{Module: "users", Operation: "list", UserID: secret}, "operation list of module users has no entries of that user"},
		{v1.InvalidationTarget{Module: "users", UserID: secret}, "module users has no entries of that user"},
		{v1.InvalidationTarget{UserID: secret}, "no module of namespace shop has entries of that user"},
		{v1.InvalidationTarget{Module: "users"}, "nothing is cached for module users"},
		{v1.InvalidationTarget{All: true}, "nothing is cached in namespace shop"},
	}
	for _, test := range tests {
		got := view.explainNothing(test.target)
		if got != test.want {
			t.Errorf("%+v: %q; want %q", test.target, got, test.want)
		}
		if strings.Contains(got, secret) {
			t.Errorf("%q names the user", got)
		}
	}
	empty := &Namespace{name: "shop"}
	if got, want := empty.explainNothing(v1.InvalidationTarget{All: true}), "namespace shop has no module: no CachePolicy declares one and Redis knows none"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
}

func TestSummaryOfTargetsFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		targets := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) v1.InvalidationTarget {
			return v1.InvalidationTarget{
				Module:    rapid.StringMatching("[a-z]{1,63}").Draw(t, "module"),
				Operation: rapid.StringOfN(rapid.Rune(), 0, 128, -1).Draw(t, "operation"),
				UserID:    rapid.StringOfN(rapid.Rune(), 0, 256, -1).Draw(t, "user"),
			}
		}), 1, 3).Draw(t, "targets")
		if got := Summarize(targets); got == "" || len(got) > maxSummary {
			t.Fatalf("%d bytes: %q", len(got), got)
		}
	})
}
