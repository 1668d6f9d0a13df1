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
		t.Stamp("list", strconv.Itoa(i), "id")
	}
	readAll(t)
	return t
}

// nearby is room for the heads that are not users'.
const nearby = 10

// readAll records a value for each head that must be read, and returns how many there were.
func readAll(t *Tracker) (read int) {
	for taken := t.take(); len(taken) > 0; taken = t.take() {
		for _, r := range taken {
			r.value = "epoch"
		}
		t.record(taken)
		read += len(taken)
	}
	return read
}

func TestWhatIsSuspectIsCheckedOnce(t *testing.T) {
	const users = 1000
	tracker := following(users)
	if got := readAll(tracker); got != 0 {
		t.Errorf("%d heads are read again", got)
	}
	tracker.Suspect("", "1")
	tracker.Suspect("", "1")
	tracker.Suspect("", "2")
	tracker.Suspect("", "unknown")
	if got := readAll(tracker); got != 2 {
		t.Errorf("%d heads are read, not the 2 that may have changed", got)
	}
	tracker.Suspect("list", "")
	tracker.Forget("list")
	if got := readAll(tracker); got != 0 {
		t.Errorf("%d heads are read that are not followed", got)
	}
	tracker.Suspect("", "1")
	tracker.end()
	if got := readAll(tracker); got != 0 {
		t.Errorf("%d heads are read after the connection was lost", got)
	}
}

// Readers wait meanwhile, so it must not take longer with more users.
func TestACheckDoesNotTakeLongerTheMoreIsFollowed(t *testing.T) {
	const (
		few, many = 100, 100_000
		most      = 30
	)
	quickest := func(users int) time.Duration {
		tracker := following(users)
		least := time.Hour
		for range 500 {
			began := time.Now()
			tracker.Suspect("", "1")
			readAll(tracker)
			least = min(least, time.Since(began))
		}
		return least
	}
	ofFew, ofMany := quickest(few), quickest(many)
	t.Logf("%s for %d heads, %s for %d", ofFew, few, ofMany, many)
	if ofMany > most*ofFew {
		t.Errorf("a round takes %s when %d heads are followed, and %s when %d are", ofFew, few, ofMany, many)
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, users := range []int{100, 30_000} {
		b.Run(strconv.Itoa(users), func(b *testing.B) {
			tracker := following(users)
			for b.Loop() {
				tracker.Suspect("", "1")
				readAll(tracker)
			}
		})
	}
}
