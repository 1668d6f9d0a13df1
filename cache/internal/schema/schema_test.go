// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"strings"
	"testing"

	"github.com/cachewright/cachewright/cache/internal/operations"
)

func TestTheFirstRuleThatCoversAnOperationApplies(t *testing.T) {
	rules := Rules{
		{Schema: "one", Operations: operations.Set{{Module: "users", Name: "get"}, {Module: "posts"}}},
		{Schema: "two", Operations: operations.Set{{Module: "users"}}},
	}
	for _, test := range []struct{ module, operation, want string }{
		{"users", "get", "one"},
		{"users", "list", "two"},
		{"posts", "list", "one"},
		{"carts", "get", ""},
	} {
		if got := rules.Of(test.module, test.operation); got != test.want {
			t.Errorf("%s.%s has schema %q, want %q", test.module, test.operation, got, test.want)
		}
	}
	if got := append(rules, Rule{Schema: "all"}, Rule{Schema: "late"}).Of("carts", "get"); got != "all" {
		t.Errorf("what no earlier rule covers has schema %q, want that of all", got)
	}
}

func TestSchemasThatCannotBeStoredAreRefused(t *testing.T) {
	for schema, storable := range map[string]bool{
		"v2": true, "!": true, "~": true, strings.Repeat("v", 64): true,
		"": false, " ": false, "v 2": false, "v\t": false, "é": false, "v\x7f": false, "\x00": false, strings.Repeat("v", 65): false,
	} {
		if err := (Rules{{Schema: schema}}).Check(); (err == nil) != storable {
			t.Errorf("%.70q: %v", schema, err)
		}
	}
	if (Rules{{Schema: "v2", Operations: operations.Set{{Name: "get"}}}}).Check() == nil {
		t.Error("an operation without a module is accepted")
	}
}
