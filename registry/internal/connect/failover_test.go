// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"slices"
	"testing"
	"time"
)

// A Sentinel that constantly fails or sends messages is queried rarely; one that was silent is
// queried soon.
func TestSentinelsThatFailAreAskedLessAndLessOften(t *testing.T) {
	var b backoff
	var pauses []time.Duration
	for _, took := range []time.Duration{0, 0, time.Second, 0, 0, 0, maxSilence, 0} {
		pauses = append(pauses, b.after(took))
	}
	want := []time.Duration{
		minFollowInterval, 2 * minFollowInterval, 4 * minFollowInterval, 8 * minFollowInterval, maxSilence, maxSilence,
		minFollowInterval, 2 * minFollowInterval,
	}
	if !slices.Equal(pauses, want) {
		t.Errorf("the pauses are %v, not %v", pauses, want)
	}
}
