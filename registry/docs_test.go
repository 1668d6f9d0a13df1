// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bufio"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
)

// linesOf returns the lines of a page that begin so.
func linesOf(t *testing.T, page, prefix string) []string {
	t.Helper()
	file, err := os.Open("../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var lines []string
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		if strings.HasPrefix(scanner.Text(), prefix) {
			lines = append(lines, scanner.Text())
		}
	}
	if len(lines) == 0 {
		t.Fatalf("%s has no line that begins with %q", page, prefix)
	}
	return lines
}

func words(line string) []any {
	var args []any
	for _, word := range strings.Fields(line) {
		args = append(args, strings.Trim(word, "'"))
	}
	return args
}

// The ACLs of docs/operations.md suffice, and keep a tenant in its namespace.
func TestDocumentedACLsSufficeAndConfine(t *testing.T) {
	server := redistest.Start(t)
	for _, line := range linesOf(t, "operations.md", "ACL SETUSER ") {
		if err := server.Client().Do(t.Context(), words(line)...).Err(); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	as := func(user string) *Registry {
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: user, Password: "secret"})
		t.Cleanup(func() { _ = client.Close() })
		return New(client)
	}
	operator, tenant := as("cachewright"), as("shop")
	for _, name := range []string{"cachewright", "shop"} { // the operator comes first, it loads the library
		r := as(name)
		if _, err := r.Install(t.Context()); err != nil {
			t.Fatal(err)
		}
		apply(t, r, users, Policy{Revision: name, DefaultTTL: caching().DefaultTTL})
		fillAll(t, r, entry("list", "a", ""), entry("list", "a", "u"))
		if !isHit(t, r, entry("list", "a", "u")) {
			t.Errorf("%s: no hit", name)
		}
		for _, scope := range []Scope{{Operation: "list", User: "u"}, {User: "u"}, {Operation: "list"}, {}} {
			invalidate(t, r, users, scope)
		}
		reclaimAll(t, r, users)
		if _, err := r.Stats(t.Context(), users); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := r.Modules(t.Context(), "shop"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := operator.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := tenant.client.FunctionLoadReplace(t.Context(), Library).Err(); err == nil {
		t.Error("a tenant may replace the library that the operator calls")
	}

	for _, other := range []Slot{{"shop2", "users"}, {"sho", "users"}, {"team", "users"}} {
		apply(t, operator, other, caching())
		key := Key{Slot: other, Operation: "list", ID: "a"}
		fillAll(t, operator, key)
		_, readErr := tenant.Read(t.Context(), key)
		_, leaseErr := tenant.Lease(t.Context(), key)
		_, invalidateErr := tenant.Invalidate(t.Context(), other, Scope{}, ModeHard, "")
		_, applyErr := tenant.ApplyPolicy(t.Context(), other, caching())
		_, statsErr := tenant.Stats(t.Context(), other)
		_, modulesErr := tenant.Modules(t.Context(), other.Namespace)
		for what, err := range map[string]error{
			"read": readErr, "lease": leaseErr, "invalidate": invalidateErr, "apply": applyErr, "stats": statsErr, "modules": modulesErr,
		} {
			if !errors.Is(err, ErrUnauthorized) {
				t.Errorf("the tenant of shop may %s in %s: %v", what, other, err)
			}
		}
		if !isHit(t, operator, key) {
			t.Errorf("%s lost an entry", other)
		}
	}
}

// The commands that docs/operations.md gives to do by hand work.
func TestDocumentedCommandsWork(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	fillAll(t, r, entry("list", "a", ""))
	for _, line := range linesOf(t, "operations.md", "redis-cli ") {
		if err := client.Do(t.Context(), words(strings.TrimPrefix(line, "redis-cli "))...).Err(); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	if isHit(t, r, entry("list", "a", "")) {
		t.Error("the purge by hand did not purge")
	}
}
