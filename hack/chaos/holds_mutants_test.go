// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// The check finds each way in which the library or a client could ignore marks.
func TestTheCheckFindsMarksThatAreIgnored(t *testing.T) {
	for _, mutant := range []struct {
		by, code, instead string
		dial              dialer
		steals            bool
	}{
		{by: "leases", code: "local is_held = rule and", instead: "local is_held = rule and false and"},
		{by: "what is reclaimed", code: "if #keys == 0 or call('EXISTS', marks.entries_key(slot)) == 0", instead: "if true"},
		{by: "invalidations", code: "return not marks.is_at(key) and call('UNLINK', key) == 1", instead: "return call('UNLINK', key) == 1"},
		{by: "releases of what was lost", code: "    hold.invalidate(held, thing, value or read_header(thing.key))\n", instead: "", steals: true},
		{by: "near caches", dial: dialDeaf},
	} {
		t.Run(mutant.by, func(t *testing.T) {
			server, r := redistest.Start(t), &heldRun{}
			load(t, server, mutant.code, mutant.instead)
			store := storeOf(server)
			members := r.members(t, store, mutant.dial)
			plan := plan{members: members, holders: r.holders(t, store, members), scopeOf: randomHold, enough: r.aViolation()}
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
