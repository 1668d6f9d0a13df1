// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

// The events are chosen so that a cache that each write clears has 23 % hits, whatever the machine.
func TestClearingEverythingHitsAtTwentyThreePercent(t *testing.T) {
	cached, reads, hits := map[item]bool{}, 0, 0
	for _, e := range headlineEvents(fullScale().headlineEvents) {
		if e.write != nil {
			clear(cached)
			continue
		}
		reads++
		if cached[e.read] {
			hits++
		}
		cached[e.read] = true
	}
	if percent := 100 * float64(hits) / float64(reads); percent < 22.5 || percent >= 23.5 {
		t.Errorf("clearing everything has %.2f %% hits, want 23", percent)
	}
}

// requireHeadline holds what does not depend on the machine.
func requireHeadline(t *testing.T, r row) {
	t.Helper()
	for name, want := range map[string]float64{
		"profileKeys": 3, "clearingProfileKeys": headlineKeys, "keysLeft": 0,
	} {
		if got, ok := r[name].(float64); !ok || got != want {
			t.Errorf("headline: %s is %v, want %v", name, r[name], want)
		}
	}
	own, _ := r["hitPercent"].(float64)
	clearing, _ := r["clearingHitPercent"].(float64)
	if own < 2*clearing {
		t.Errorf("headline: %v %% hits are not twice the %v %% of clearing everything", own, clearing)
	}
	fewer, _ := r["fewerFalsePercent"].(float64)
	if fewer < 90 {
		t.Errorf("headline: false invalidations are %v %% fewer, want 90", fewer)
	}
}
