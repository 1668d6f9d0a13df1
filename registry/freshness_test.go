// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"testing"
	"time"
)

// A lowered TTL bounds how long entries are fresh, too, though they may be there for nearly as long
// as before.
func TestALoweredTTLBoundsFreshness(t *testing.T) {
	for name, test := range map[string]struct{ before, after OperationPolicy }{
		"and stale for long": {
			OperationPolicy{Name: "list", TTL: time.Hour}, OperationPolicy{Name: "list", TTL: time.Minute, StaleFor: 58 * time.Minute},
		},
		"and stale for longer": {
			OperationPolicy{Name: "list", TTL: time.Hour, StaleFor: time.Minute}, OperationPolicy{Name: "list", TTL: time.Minute, StaleFor: 59 * time.Minute},
		},
		"and stale as before": {
			OperationPolicy{Name: "list", TTL: time.Hour, StaleFor: time.Hour}, OperationPolicy{Name: "list", TTL: time.Minute, StaleFor: time.Hour},
		},
		"and stale without a limit": {
			OperationPolicy{Name: "list", TTL: time.Hour}, OperationPolicy{Name: "list", TTL: time.Minute, StaleFor: 2 * time.Hour},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := newRegistry(t)
			apply(t, r, users, Policy{Operations: []OperationPolicy{test.before}})
			fillMany(t, r, "list", "u", 150) // more than one call takes on
			apply(t, r, users, Policy{Operations: []OperationPolicy{test.after}})
			reclaimAll(t, r, users)
			for _, id := range []string{"0", "75", "149"} {
				lookup, err := r.Read(t.Context(), entry("list", id, "u"))
				if err != nil || !lookup.Hit || !lookup.Stale && lookup.Remaining > time.Minute {
					t.Errorf("entry %s: got %+v (%v)", id, lookup, err)
				}
			}
		})
	}
}

// Entries that end before the rule lets others end, as they are older, are no exception.
func TestALoweredTTLBoundsFreshnessOfEntriesThatDoNotOutliveIt(t *testing.T) {
	r, _ := newRegistry(t)
	policy := func(ttl, staleFor time.Duration) Policy {
		return Policy{Operations: []OperationPolicy{{Name: "list", TTL: ttl, StaleFor: staleFor}}}
	}
	apply(t, r, users, policy(30*time.Minute, 0))
	fillAll(t, r, entry("list", "a", ""))
	apply(t, r, users, policy(time.Hour, time.Hour))
	apply(t, r, users, policy(10*time.Minute, time.Hour))
	reclaimAll(t, r, users)
	lookup, err := r.Read(t.Context(), entry("list", "a", ""))
	if err != nil || !lookup.Hit || lookup.Remaining > 10*time.Minute {
		t.Errorf("fresh for %v (%v)", lookup.Remaining, err)
	}
}
