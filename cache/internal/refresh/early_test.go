// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package refresh

import (
	"math"
	"testing"
	"time"
)

// The probability is the documented one.
func TestProbabilityOfAnEarlyRefresh(t *testing.T) {
	const (
		draws    = 20_000
		loadTime = 100 * time.Millisecond
	)
	early := NewHeadStarts(2)
	if early.Of("users", "get") != 0 {
		t.Error("early although no load was timed")
	}
	early.add(timedOperation{"users", "get"}, loadTime)
	for _, left := range []time.Duration{0, loadTime, 2 * loadTime, 6 * loadTime} {
		drawn := 0
		for range draws {
			if left <= early.Of("users", "get") {
				drawn++
			}
		}
		got, want := float64(drawn)/draws, math.Exp(-float64(left)/float64(2*loadTime))
		if math.Abs(got-want) > 0.03 { // eight standard deviations
			t.Errorf("%s before the end: %v, want %v", left, got, want)
		}
	}
}

func TestLoadTimesAreBounded(t *testing.T) {
	var early HeadStarts
	for i := range 2 * maxLoadTimes {
		early.add(timedOperation{"users", string(rune(i))}, time.Second)
	}
	if len(early.loadTimes) != maxLoadTimes {
		t.Errorf("%d are known", len(early.loadTimes))
	}
}
