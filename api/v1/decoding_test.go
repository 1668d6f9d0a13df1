// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package v1_test

import (
	"encoding/json"
	"testing"
	"time"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// The API server does not validate objects again that it stored before the schema had patterns for
// times. They must not stop a watch.
func TestStatusWithTimesThatGoCannotReadDecodes(t *testing.T) {
	for text, want := range map[string]time.Time{
		`"2026-01-02T15:04:05Z"`:          time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC),
		`"2026-01-02T15:04:05.678901Z"`:   time.Date(2026, 1, 2, 15, 4, 5, 678901000, time.UTC),
		`"2026-01-02T15:04:05.678Z"`:      time.Date(2026, 1, 2, 15, 4, 5, 678000000, time.UTC),
		`"2026-01-02T17:04:05+02:00"`:     time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC),
		`"2026-01-02t15:04:05z"`:          time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC),
		`"2026-01-02T15:04:05+99:99"`:     time.Unix(0, 0),
		`"2026-01-02T15:04:05x5Z"`:        time.Unix(0, 0),
		`"2026-01-02T15:04:05ZTand more"`: time.Unix(0, 0),
		`""`:                              time.Unix(0, 0),
		`[]`:                              time.Unix(0, 0),
		`[1]`:                             time.Unix(0, 0),
	} {
		t.Run(text, func(t *testing.T) {
			purge := `{"status":{"state":"Complete","keysInvalidated":9007199254740993,"effectiveTime":` + text +
				`,"startTime":` + text + `,"completionTime":` + text + `,"conditions":[{"type":"Complete","status":"True","lastTransitionTime":` + text + `}]}}`
			var invalidation v1.CacheInvalidation
			if err := json.Unmarshal([]byte(purge), &invalidation); err != nil {
				t.Fatal(err)
			}
			status := invalidation.Status
			if !status.EffectiveTime.Time.Equal(want) || status.State != v1.StateComplete || status.Conditions[0].Type != v1.ConditionComplete {
				t.Errorf("the purge became %+v, want all of it, effective at %v", status, want)
			}
			if *status.KeysInvalidated != 9007199254740993 {
				t.Errorf("keysInvalidated became %d", *status.KeysInvalidated)
			}
			var policy v1.CachePolicy
			if err := json.Unmarshal([]byte(`{"status":{"lastPurgeTime":`+text+`,"stats":{"observedTime":`+text+`,"keys":7}}}`), &policy); err != nil {
				t.Fatal(err)
			}
			if !policy.Status.LastPurgeTime.Time.Equal(want) || !policy.Status.Stats.ObservedTime.Time.Equal(want) || policy.Status.Stats.Keys != 7 {
				t.Errorf("the policy became %+v, want all of it, purged at %v", policy.Status, want)
			}
			var store v1.CacheStore
			if err := json.Unmarshal([]byte(`{"status":{"conditions":[{"type":"Ready","lastTransitionTime":`+text+`}]}}`), &store); err != nil {
				t.Fatal(err)
			}
			if got := store.Status.Conditions[0].LastTransitionTime; !got.Time.Equal(want) {
				t.Errorf("the store's condition changed at %v, want %v", got, want)
			}
		})
	}
}
