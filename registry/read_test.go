// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"testing"

	"github.com/onsi/gomega"
)

// A version belongs to one entry, as long as the entry exists. The next one under the key has
// another version, even with the same payload.
func TestVersionTellsEntriesApart(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, caching())
	inspect := func(key Key) (Lookup, Version) {
		t.Helper()
		lookup, version, err := r.Inspect(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return lookup, version
	}
	seen := map[Version]string{}
	remember := func(version Version, of string) {
		t.Helper()
		if before, known := seen[version]; known {
			t.Errorf("%s: the version of %s", of, before)
		}
		seen[version] = of
	}
	for _, user := range []string{"", "ada"} {
		key := entry("get", "1", user)
		if lookup, version := inspect(key); lookup.Hit || version != "" {
			t.Errorf("without an entry: %+v, version %q", lookup, version)
		}
		fill(t, r, key, "payload")
		lookup, version := inspect(key)
		if !lookup.Hit || string(lookup.Payload) != "payload" || version == "" {
			t.Fatalf("%+v, version %q", lookup, version)
		}
		remember(version, "the first entry of "+user)
		fillAll(t, r, entry("get", "2", user), entry("list", "1", user))
		if _, again := inspect(key); again != version {
			t.Error("the version of an entry changed when others were filled")
		}
		if lookup, err := r.Read(t.Context(), key); err != nil || !lookup.Hit || string(lookup.Payload) != "payload" {
			t.Errorf("Read: %+v, %v", lookup, err)
		}
		for _, scope := range []Scope{{}, {Operation: "get"}} {
			invalidate(t, r, users, scope)
			if lookup, version := inspect(key); lookup.Hit || version != "" {
				t.Errorf("after an invalidation: %+v, version %q", lookup, version)
			}
			fill(t, r, key, "payload")
			_, version := inspect(key)
			remember(version, "the entry after an invalidation")
		}
		// Entries of one millisecond that only a deletion lies between are alike.
		eventually(t, func() string {
			if _, err := r.Delete(t.Context(), key); err != nil {
				t.Error(err)
			}
			fill(t, r, key, "payload")
			_, version = inspect(key)
			return seen[version]
		}).Should(gomega.BeEmpty())
		remember(version, "the entry after a deletion")
	}
}
