// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import "testing"

// What a hit and a fill allocate, go-redis' share included, is what they take from the
// application's garbage collector.
func TestAllocationsOfAHitAndAFill(t *testing.T) {
	const runs = 200
	r, _ := newRegistry(t)
	apply(t, r, users, caching())
	key := entry("list", "a", "")
	token := leaseAnew(t, r, key)
	payload := []byte(kilobyte)
	for name, test := range map[string]struct {
		call func() error
		most float64
	}{
		"a fill": {func() error { _, err := r.Set(t.Context(), key, payload, token); return err }, 16},
		"a hit":  {func() error { _, err := r.Read(t.Context(), key); return err }, 14},
	} {
		if err := test.call(); err != nil {
			t.Fatal(err)
		}
		allocs := testing.AllocsPerRun(runs, func() {
			if err := test.call(); err != nil {
				t.Fatal(err)
			}
		})
		t.Logf("%s: %v allocations", name, allocs)
		if allocs > test.most {
			t.Errorf("%s makes %v allocations, want %v at most", name, allocs, test.most)
		}
	}
}
