// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package backoff_test

import (
	"testing"
	"time"

	"github.com/cachewright/cachewright/repository/internal/backoff"
)

func TestPausesDoubleUpToTheLast(t *testing.T) {
	b := backoff.Backoff{First: 10 * time.Millisecond, Last: 65 * time.Millisecond}
	for failures, whole := range map[int]time.Duration{
		-1: 10 * time.Millisecond, 0: 10 * time.Millisecond, 1: 10 * time.Millisecond,
		2: 20 * time.Millisecond, 3: 40 * time.Millisecond,
		4: 65 * time.Millisecond, 17: 65 * time.Millisecond, 1 << 40: 65 * time.Millisecond,
	} {
		drawn := map[time.Duration]bool{}
		for range 100 {
			pause := b.After(failures)
			if pause < whole/2 || pause > whole {
				t.Errorf("after %d failures: %v, want %v to %v", failures, pause, whole/2, whole)
			}
			drawn[pause] = true
		}
		if len(drawn) < 50 {
			t.Errorf("after %d failures: %d different pauses of 100", failures, len(drawn))
		}
	}
}

func TestAPauseOfNothingIsHarmless(t *testing.T) {
	if pause := (backoff.Backoff{}).After(3); pause < 0 || pause > time.Nanosecond {
		t.Errorf("%v", pause)
	}
}
