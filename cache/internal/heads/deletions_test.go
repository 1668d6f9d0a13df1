// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package heads

import (
	"math"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

const (
	epoch, soft = "eeeeeeeeeee", "sssssssssss"
	noDigest    = "da39a3ee5e6b4b0d" // of the empty name
)

func fence(n int) string {
	digits := strconv.Itoa(n)
	return strings.Repeat("f", epochBytes-len(digits)) + digits
}

// logged is a record: the deletion of this entry of the operation list replaced this fence.
func logged(n int, digest string) string { return fence(n) + digest }

// Digests of the entries list, of no user, with these ids; as sha1sum prints them.
const (
	digestOfA = "ff8ff338d37f50ba"
	digestOfB = "fc051a29a92d8c2b"
)

// stampsUnder returns a tracker that knows a head of the operation list, and Stamps of two entries.
func stampsUnder(t *testing.T, head string) (tracker *Tracker, a, b Stamp) {
	t.Helper()
	tracker = New(nil, "cw:{shop/users}", 100, nil)
	l := &link{generation: func() uint64 { return 0 }}
	l.trusted.Store(math.MaxInt64)
	tracker.begin(l)
	tracker.Stamp("list", "", "a")
	readAs(tracker, head, "")
	a, b = tracker.Stamp("list", "", "a"), tracker.Stamp("list", "", "b")
	if !valid(a) || !valid(b) {
		t.Fatal("no stamps")
	}
	return tracker, a, b
}

func valid(s Stamp) bool { return s.Valid(time.Now()) }

// readAs answers each read of the operation's head with this, and each other one as before.
func readAs(t *Tracker, head, log string) {
	for taken := t.take(); len(taken) > 0; taken = t.take() {
		for _, r := range taken {
			r.value = epoch
			if r.head.log != "" {
				r.value, r.log = head, log
			}
		}
		t.record(taken)
	}
}

func TestWhatTheLogOfDeletionsLeaves(t *testing.T) {
	trimmed := strings.Repeat(logged(8, digestOfB), longTail/recordBytes)
	for name, test := range map[string]struct {
		before, now, log string
		a, b             bool
	}{
		"nothing was deleted":          {epoch + fence(1), epoch + fence(1), "", true, true},
		"a was deleted":                {epoch + fence(1), epoch + fence(2), logged(1, digestOfA), false, true},
		"b was deleted":                {epoch + fence(1), epoch + fence(2), logged(1, digestOfB), true, false},
		"both were deleted":            {epoch + fence(1), epoch + fence(3), logged(1, digestOfB) + logged(2, digestOfA), false, false},
		"a was deleted before":         {epoch + fence(2), epoch + fence(3), logged(1, digestOfA) + logged(2, digestOfB), true, false},
		"a was deleted after the read": {epoch + fence(1), epoch + fence(2), logged(1, digestOfB) + logged(2, digestOfA), false, false},
		"under a soft epoch":           {epoch + fence(1) + soft, epoch + fence(2) + soft, logged(1, digestOfB), true, false},
		"and a soft invalidation":      {epoch + fence(1), epoch + fence(2) + soft, logged(1, digestOfB), false, false},
		"and another soft epoch":       {epoch + fence(1) + soft, epoch + fence(2) + epoch, logged(1, digestOfB), false, false},
		"and another epoch":            {epoch + fence(1), soft + fence(2), logged(1, digestOfB), false, false},
		"a policy renewed the fence":   {epoch + fence(1), epoch + fence(2), logged(1, noDigest), false, false},
		"a policy did among deletions": {epoch + fence(1), epoch + fence(3), logged(1, digestOfB) + logged(2, noDigest), false, false},
		"the log was lost":             {epoch + fence(1), epoch + fence(2), "", false, false},
		"the log began anew":           {epoch + fence(1), epoch + fence(3), logged(2, digestOfB), false, false},
		"the log was trimmed":          {epoch + fence(1), epoch + fence(9), trimmed, false, false},
		"the log has no records":       {epoch + fence(1), epoch + fence(2), logged(1, digestOfB) + "x", false, false},
		"the log has other digests":    {epoch + fence(1), epoch + fence(2), logged(1, strings.Repeat("x", hexBytes)), false, false},
		"the head is gone":             {epoch + fence(1), "", logged(1, digestOfB), false, false},
		"the head is a mark":           {epoch + fence(1), "!!" + strings.Repeat("m", 24), logged(1, digestOfB), false, false},
		"the head is too short":        {epoch, epoch, "", true, true},
		"other short heads":            {epoch, soft, "", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			tracker, a, b := stampsUnder(t, test.before)
			tracker.changed("cw:{shop/users}:o:list")
			if valid(a) || valid(b) {
				t.Error("a stamp is valid before the change is known")
			}
			readAs(tracker, test.now, test.log)
			if valid(a) != test.a || valid(b) != test.b {
				t.Errorf("a is valid: %t, b is: %t; want %t and %t", valid(a), valid(b), test.a, test.b)
			}
			if renewed := tracker.Stamp("list", "", "a"); valid(renewed) != true {
				t.Error("a stamp from after the change is not valid")
			}
		})
	}
}

// A process that deletes knows of it before Redis reports it.
func TestOwnDeletionEndsTheStampsOfItsEntry(t *testing.T) {
	tracker, a, b := stampsUnder(t, epoch+fence(1))
	tracker.Deleted("list", "", "a")
	if valid(a) || !valid(b) {
		t.Errorf("a is valid: %t, b is: %t", valid(a), valid(b))
	}
	if again := tracker.Stamp("list", "", "a"); !valid(again) {
		t.Error("the entry cannot be kept again")
	}
	tracker.Deleted("other", "", "a")
	tracker.Deleted("list", "ada", "b")
	if !valid(b) {
		t.Error("the deletion of another entry ended the stamp")
	}
}

// A head that changes all the time is read again and again, and the log tells of each change.
func TestDeletionsDuringAReadAreLookedUpNext(t *testing.T) {
	tracker, a, b := stampsUnder(t, epoch+fence(1))
	tracker.changed("cw:{shop/users}:o:list")
	for n := 1; n < 1000; n++ {
		taken := tracker.take()
		taken[0].value, taken[0].log = epoch+fence(n+1), logged(n, digestOfB)
		tracker.changed("cw:{shop/users}:o:list")
		tracker.record(taken)
		if valid(a) {
			t.Fatal("valid although the head has changed")
		}
	}
	readAs(tracker, epoch+fence(1000), "")
	if !valid(a) || valid(b) {
		t.Errorf("a is valid: %t, b is: %t", valid(a), valid(b))
	}
}

func TestDigestsAreThoseOfTheLibrary(t *testing.T) {
	for id, want := range map[string]string{"a": digestOfA, "b": digestOfB} {
		if found, told := deletedSince(logged(1, want), epoch+fence(1)); !told || found[0] != digestOf("list", "", id) {
			t.Errorf("%s: %x, %t", id, digestOf("list", "", id), told)
		}
	}
}

// Stamps are dropped without notice. What nobody holds must not stay.
func TestWatchesOfStampsThatAreGoneAreForgotten(t *testing.T) {
	const held, dropped = 100, 100_000
	var w watches
	var kept []*watch
	for i := range held {
		kept = append(kept, w.begin(digestOf("list", "", strconv.Itoa(i))))
	}
	for i := range dropped {
		w.begin(digestOf("list", "dropped", strconv.Itoa(i)))
	}
	NewWithT(t).Eventually(func() int {
		runtime.GC()
		w.sweep()
		return len(w.of)
	}).WithTimeout(20 * time.Second).Should(And(BeNumerically(">=", held), BeNumerically("<", 2*held)))
	for i := range held {
		w.delete(digestOf("list", "", strconv.Itoa(i)))
		if !kept[i].deleted.Load() {
			t.Fatalf("the watch of entry %d was forgotten", i)
		}
	}
}

// Each deletion would cost Redis a read for each of many processes that do not use the operation.
func TestHeadThatIsNotUsedIsReadWhenAStampIsTaken(t *testing.T) {
	tracker := New(nil, "cw:{shop/users}", 100, nil)
	uses := int64(7)
	tracker.Used = func(operation string) int64 {
		if operation != "list" {
			t.Errorf("asked for the uses of %q", operation)
		}
		return uses
	}
	l := &link{generation: func() uint64 { return 0 }}
	l.trusted.Store(math.MaxInt64)
	tracker.begin(l)
	tracker.Stamp("list", "", "a")
	readAs(tracker, epoch+fence(1), "")
	a, b := tracker.Stamp("list", "", "a"), tracker.Stamp("list", "", "b")
	tracker.changed("cw:{shop/users}:o:list")
	if got := len(tracker.take()); got != 0 || valid(a) {
		t.Errorf("%d heads are read that nobody uses; a stamp is valid: %t", got, valid(a))
	}
	if again := tracker.Stamp("list", "", "b"); valid(again) {
		t.Error("a stamp is valid before the head was read")
	}
	readAs(tracker, epoch+fence(2), logged(1, digestOfA))
	if valid(a) || !valid(b) {
		t.Errorf("a is valid: %t, b is: %t", valid(a), valid(b))
	}

	uses++
	tracker.changed("cw:{shop/users}:o:list")
	taken := tracker.take()
	if len(taken) != 1 {
		t.Fatalf("%d heads are read although the operation was used", len(taken))
	}
	// It changes again while it is read.
	tracker.changed("cw:{shop/users}:o:list")
	tracker.Stamp("list", "", "b")
	if len(tracker.take()) != 0 {
		t.Error("it is read twice at the same time")
	}
	taken[0].value, taken[0].log = epoch+fence(3), logged(2, digestOfA)
	tracker.record(taken)
	if valid(b) {
		t.Error("valid although the head has changed")
	}
	readAs(tracker, epoch+fence(4), logged(3, digestOfA))
	if !valid(b) {
		t.Error("it was not read again")
	}
}

// The heads of modules and users are read at once, used or not.
func TestHeadsOfModulesAndUsersAreReadAtOnce(t *testing.T) {
	tracker := New(nil, "cw:{shop/users}", 100, nil)
	tracker.Used = func(string) int64 { return 0 }
	tracker.begin(&link{generation: func() uint64 { return 0 }})
	tracker.Stamp("list", "ada", "a")
	readAs(tracker, epoch+fence(1), "")
	for _, key := range []string{":m", ":u:ada"} {
		tracker.changed("cw:{shop/users}" + key)
		if got := len(tracker.take()); got != 1 {
			t.Errorf("%s: %d heads are read", key, got)
		}
	}
}
