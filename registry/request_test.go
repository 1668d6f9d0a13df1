// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"strings"
	"testing"
)

// A request id stands for one invalidation. Used for another it is refused: the caller would take
// it for done.
func TestARequestIDIsOfOneInvalidation(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, caching())
	fillMany(t, r, "list", "u", 3)
	fillMany(t, r, "other", "", 5)
	ask := func(scope Scope, mode Mode) (Invalidated, error) {
		return r.Invalidate(t.Context(), users, scope, mode, "request")
	}
	for range 2 {
		if result, err := ask(Scope{Operation: "list"}, ModeHard); err != nil || result.Keys != 3 {
			t.Fatalf("got %+v (%v), want the first answer", result, err)
		}
	}
	for _, other := range []struct {
		scope Scope
		mode  Mode
	}{
		{Scope{Operation: "other"}, ModeHard},
		{Scope{Operation: "list", User: "u"}, ModeHard},
		{Scope{User: "list"}, ModeHard},
		{Scope{}, ModeHard},
		{Scope{Operation: "list"}, ModeSoft},
	} {
		if result, err := ask(other.scope, other.mode); err == nil || !strings.Contains(err.Error(), "request_id") {
			t.Errorf("%+v, %s: got %+v, %v, want a refusal", other.scope, other.mode, result, err)
		}
	}
	if !isHit(t, r, entry("other", "1", "")) {
		t.Error("a refused invalidation took effect")
	}
}
