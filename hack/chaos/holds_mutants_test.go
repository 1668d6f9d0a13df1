// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// The check finds each way in which the library or a client could ignore marks.
func TestTheCheckFindsMarksThatAreIgnored(t *testing.T) {
	for _, mutant := range []struct {
		by, code, instead string
		scopeOf           func(cache.Key) scope
		dial              dialer
		steals            bool
	}{
		{by: "leases", scopeOf: randomHold, code: "local is_held = rule and", instead: "local is_held = rule and false and"},
		{by: "what is reclaimed", scopeOf: entryOf, code: "if #keys == 0 or call('EXISTS', marks.entries_key(slot)) == 0", instead: "if true"},
		{by: "invalidations", scopeOf: userOf, code: "return not marks.is_at(key) and call('UNLINK', key) == 1", instead: "return call('UNLINK', key) == 1"},
		{by: "releases of what was lost", scopeOf: randomHold, code: "    hold.invalidate(held, thing, value or read_header(thing.key))\n", instead: "", steals: true},
		{by: "near caches", scopeOf: randomHold, dial: dialDeaf},
	} {
		t.Run(mutant.by, func(t *testing.T) {
			server, r := redistest.Start(t), &heldRun{}
			load(t, server, mutant.code, mutant.instead)
			store := storeOf(server)
			members := r.members(t, store, mutant.dial)
			plan := plan{members: members, holders: r.holders(t, store, members), scopeOf: mutant.scopeOf, enough: r.aViolation()}
			if mutant.steals {
				plan.disturb = func() { r.steal(server) }
			}
			r.start(t, store, plan)
			if r.violated() == 0 {
				t.Error("marks were ignored, but the check found nothing")
			}
		})
	}
}

func entryOf(key cache.Key) scope {
	return scope{operation: key.Operation, user: key.User, id: key.Params.(string)}
}

// userOf is the module for keys without a user.
func userOf(key cache.Key) scope { return scope{user: key.User} }

// load loads the library with other code in place of a part of its own.
func load(t *testing.T, server *redistest.Server, code, instead string) {
	t.Helper()
	if code == "" {
		return
	}
	if strings.Count(registry.Library, code) != 1 {
		t.Fatalf("the library must contain this once: %s", code)
	}
	version := fmt.Sprintf("local VERSION = %d\n", registry.LibraryVersion)
	mutant := strings.Replace(strings.Replace(registry.Library, code, instead, 1), version, "local VERSION = 1000000\n", 1)
	if err := server.Client().FunctionLoadReplace(t.Context(), mutant).Err(); err != nil {
		t.Fatal(err)
	}
}
