// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"testing"
	"time"
)

// What usual calls take grows with each command, and there are many of them. The figures are those
// of a policy without a source lag, and of a slot where nothing is held.
func TestUsualCallsTakeFewCommands(t *testing.T) {
	const callAndInfo = 2
	r, client := newRegistry(t)
	apply(t, r, users, Policy{DefaultTTL: new(time.Hour), Operations: []OperationPolicy{{Name: "list", TTL: time.Hour}}})
	removal := func() {
		if _, err := r.Delete(t.Context(), entry("list", "0", "")); err != nil {
			t.Fatal(err)
		}
	}
	purge := func(scope Scope) func() { return func() { invalidate(t, r, users, scope) } }
	putting := func(key Key, options FillOptions) func() { return func() { put(t, r, key, "x", options) } }
	id := NewHoldID()
	holding := func(target HoldTarget) func() { return func() { hold(t, r, id, time.Minute, target) } }
	releasing := func(target HoldTarget) func() { return func() { releaseHold(t, r, id, target) } }
	for _, usual := range []struct {
		name   string
		filled int
		call   func()
		most   int
	}{
		{"a purge of nothing", 0, purge(Scope{Operation: "list"}), 5},
		{"a purge of ten entries", 10, purge(Scope{Operation: "list"}), 15},
		{"a purge of a thousand entries", 1000, purge(Scope{Operation: "list"}), 14},
		{"a purge of a user without entries", 0, purge(Scope{User: "u"}), 5},
		{"a deletion", 1, removal, 12},
		{"a hold of an entry", 1, holding(HoldEntry(entry("list", "0", ""))), 12},
		{"its renewal", 0, holding(HoldEntry(entry("list", "0", ""))), 5},
		{"its release", 0, releasing(HoldEntry(entry("list", "0", ""))), 6},
		{"a hold of an operation", 1, holding(HoldScope(Scope{Operation: "list"})), 14},
		{"its renewal", 0, holding(HoldScope(Scope{Operation: "list"})), 3},
		{"its release", 0, releasing(HoldScope(Scope{Operation: "list"})), 3},
		{"a hold of a user without entries", 0, holding(HoldScope(Scope{User: "u"})), 5},
		{"its release", 0, releasing(HoldScope(Scope{User: "u"})), 3},
		{"a hold of a module", 1, holding(HoldScope(Scope{})), 18},
		{"its release", 0, releasing(HoldScope(Scope{})), 3},
		{"a put in place of an entry", 1, putting(entry("list", "0", ""), FillOptions{}), 16},
		{"a put of a user's, without heads", 0, putting(entry("list", "0", "u"), FillOptions{}), 25},
		{"a put of a user's in place of it, with a TTL", 0, putting(entry("list", "0", "u"), FillOptions{TTL: time.Minute}), 32},
		{"a put that stores nothing", 0, putting(entry("list", "0", "u"), FillOptions{Negative: true}), 14},
		{"a fence", 1, func() { ensureFenced(t, r) }, 27},
		{"a fence that is in place", 0, func() { ensureFenced(t, r) }, 3},
		{"a check of a fence", 0, func() { checkFence(t, r) }, 3},
	} {
		if usual.filled > 0 {
			fillCount(t, r, "list", "", usual.filled, "x")
		}
		before := commandsRun(t, client)
		usual.call()
		if took := commandsRun(t, client) - before - callAndInfo; took > usual.most {
			t.Errorf("%s takes %d commands, want %d", usual.name, took, usual.most)
		}
		reclaimAll(t, r, users)
	}
}
