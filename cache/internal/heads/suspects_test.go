// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package heads

import (
	"strconv"
	"testing"
	"time"
)

// following returns a tracker that knows the heads of so many users, without Redis.
func following(users int) *Tracker {
	t := New(nil, "cw:{shop/users}", 2*users+nearby, nil)
	t.begin(&link{generation: func() uint64 { return 0 }})
	for i := range users {
		t.Stamp("list", strconv.Itoa(i))
	}
	lookAtAll(t)
	return t
}

// nearby is room for the heads that are not users'.
const nearby = 10

// lookAtAll has all suspects found to hold a value, and returns how many there were.
func lookAtAll(t *Tracker) (looked int) {
	for keys, asked := t.suspects(); len(keys) > 0; keys, asked = t.suspects() {
		values := make([]any, len(keys))
		for i := range values {
			values[i] = "epoch"
		}
		t.settle(asked, values)
		looked += len(keys)
	}
	return looked
}

func TestWhatIsSuspectIsLookedAtOnce(t *testing.T) {
	const users = 1000
	tracker := following(users)
	if got := lookAtAll(tracker); got != 0 {
		t.Errorf("%d heads are looked at again", got)
	}
	tracker.Suspect("", "1")
	tracker.Suspect("", "1")
	tracker.Suspect("", "2")
	tracker.Suspect("", "unknown")
	if got := lookAtAll(tracker); got != 2 {
		t.Errorf("%d heads are looked at, not the 2 that may have changed", got)
	}
	tracker.Suspect("list", "")
	tracker.Forget("list")
	if got := lookAtAll(tracker); got != 0 {
		t.Errorf("%d heads are looked at that are not followed", got)
	}
	tracker.Suspect("", "1")
	tracker.end()
	if got := lookAtAll(tracker); got != 0 {
		t.Errorf("%d heads are looked at after the connection was lost", got)
	}
}

// Readers wait meanwhile, so it must not take longer the more users there are.
func TestALookDoesNotTakeLongerTheMoreIsFollowed(t *testing.T) {
	const (
		few, many = 100, 100_000
		most      = 30 // it was a thousand
	)
	quickest := func(users int) time.Duration {
		tracker := following(users)
		least := time.Hour
		for range 500 {
			began := time.Now()
			tracker.Suspect("", "1")
			lookAtAll(tracker)
			least = min(least, time.Since(began))
		}
		return least
	}
	ofFew, ofMany := quickest(few), quickest(many)
	t.Logf("%s for %d heads, %s for %d", ofFew, few, ofMany, many)
	if ofMany > most*ofFew {
		t.Errorf("a look takes %s when %d heads are followed, and %s when %d are", ofFew, few, ofMany, many)
	}
}

func BenchmarkLook(b *testing.B) {
	for _, users := range []int{100, 30_000} {
		b.Run(strconv.Itoa(users), func(b *testing.B) {
			tracker := following(users)
			for b.Loop() {
				tracker.Suspect("", "1")
				lookAtAll(tracker)
			}
		})
	}
}
