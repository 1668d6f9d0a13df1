// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"slices"
	"testing"
	"time"
)

// A Sentinel that fails, or talks, all the time is asked rarely; one that was quiet is asked soon.
func TestSentinelsThatFailAreAskedLessAndLessOften(t *testing.T) {
	var p growingPause
	var pauses []time.Duration
	for _, took := range []time.Duration{0, 0, time.Second, 0, 0, 0, followSilence, 0} {
		pauses = append(pauses, p.after(took))
	}
	want := []time.Duration{
		followPause, 2 * followPause, 4 * followPause, 8 * followPause, followSilence, followSilence,
		followPause, 2 * followPause,
	}
	if !slices.Equal(pauses, want) {
		t.Errorf("the pauses are %v, not %v", pauses, want)
	}
}
