// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package heads_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache/internal/heads"
	"github.com/cachewright/cachewright/internal/redistest"
)

const (
	slot        = "cw:{shop/users}"
	waitTimeout = 20 * time.Second
)

func noPolicy(context.Context) error { return nil }

func oneServer() uint64 { return 1 }

// run starts a tracker, which ends with the test.
func run(t *testing.T, client redis.UniversalClient, limit int) *heads.Tracker {
	t.Helper()
	tracker := heads.New(heads.NewLinks(client, oneServer), slot, limit, noPolicy)
	runTracker(t, tracker)
	return tracker
}

func runTracker(t *testing.T, tracker *heads.Tracker) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { tracker.Run(ctx, func(error) {}) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

// stamped returns a valid stamp of the operation list of the user ada.
func stamped(t *testing.T, tracker *heads.Tracker) heads.Stamp {
	t.Helper()
	return stampedOf(t, tracker, "list", "ada")
}

func stampedOf(t *testing.T, tracker *heads.Tracker, operation, user string) (stamp heads.Stamp) {
	t.Helper()
	NewWithT(t).Eventually(func() bool {
		stamp = tracker.Stamp(operation, user, "id")
		return stamp.Valid(time.Now())
	}).WithTimeout(waitTimeout).WithPolling(time.Millisecond).Should(BeTrue(), "the heads are not followed")
	return stamp
}

func becomes(t *testing.T, stamp heads.Stamp, valid bool, what string) {
	t.Helper()
	NewWithT(t).Eventually(func() bool { return stamp.Valid(time.Now()) }).
		WithTimeout(waitTimeout).WithPolling(time.Millisecond).Should(Equal(valid), what)
}

func do(t *testing.T, client redis.UniversalClient, args ...any) {
	t.Helper()
	if err := client.Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
}

func setHeads(t *testing.T, client redis.UniversalClient, value string) {
	t.Helper()
	for _, head := range []string{":m", ":o:list", ":u:ada", ":o:get", ":u:bob"} {
		do(t, client, "SET", slot+head, value+head)
	}
}

func TestStampEndsWithAChangeOfItsHeadsOnly(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	setHeads(t, client, "epoch")
	tracker := run(t, client, 100)
	for _, change := range [][]any{
		{"DEL", slot + ":m"},
		{"SET", slot + ":o:list", "another"},
		{"APPEND", slot + ":u:ada", "soft"},
		{"PEXPIRE", slot + ":m", 1},
	} {
		setHeads(t, client, "epoch")
		stamp := survivor(t, client, tracker)
		do(t, client, change...)
		becomes(t, stamp, false, "it outlives the change")
	}
}

// survivor returns a stamp that outlived changes of what does not cover it, once these were
// reported. An earlier one may have ended by what was changed before it was taken.
func survivor(t *testing.T, client redis.UniversalClient, tracker *heads.Tracker) (stamp heads.Stamp) {
	t.Helper()
	NewWithT(t).Eventually(func() bool {
		stamp = stamped(t, tracker)
		witness := stampedOf(t, tracker, "get", "bob")
		do(t, client, "SET", "cw:{shop/posts}:m", "changed")
		for _, other := range []string{":e:4:list:0::id", ":io:list", ":counters", ":u:bob", ":o:get"} {
			do(t, client, "SET", slot+other, rand.Text())
		}
		becomes(t, witness, false, "it outlives the change")
		return stamp.Valid(time.Now())
	}).WithTimeout(waitTimeout).WithPolling(time.Millisecond).Should(BeTrue(), "a stamp ends with a change of what does not cover it")
	return stamp
}

// Leases make heads last longer, and thereby touch them.
func TestStampSurvivesATouchOfItsHeads(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	setHeads(t, client, "epoch")
	tracker := run(t, client, 100)
	last := stamped(t, tracker)
	shared := tracker.Stamp("list", "", "id")
	for range 100 {
		do(t, client, "PEXPIRE", slot+":m", 3600*1000)
		do(t, client, "SET", slot+":o:list", "epoch:o:list")
	}
	do(t, client, "DEL", slot+":u:ada")
	becomes(t, last, false, "it outlives the change") // so what was reported before has arrived
	becomes(t, shared, true, "the stamp ended although the heads hold what they held")
}

// A head that is gone may have been there in between: two absences are not the same.
func TestStampOfAMissingHeadEndsWithAnyChange(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	tracker := run(t, client, 100)
	stamp := stamped(t, tracker)
	do(t, client, "SET", slot+":m", "epoch")
	do(t, client, "DEL", slot+":m")
	becomes(t, stamp, false, "the stamp outlives a head that came and went")
	stamped(t, tracker)
	if stamp.Valid(time.Now()) {
		t.Error("the stamp is valid again")
	}
}

func TestOwnChangesAreObeyedAtOnce(t *testing.T) {
	server := redistest.Start(t)
	tracker := run(t, server.Client(), 100)
	for _, scope := range []struct{ operation, user string }{{"", ""}, {"list", ""}, {"", "ada"}, {"list", "ada"}} {
		stamp := stamped(t, tracker)
		tracker.Suspect(scope.operation, scope.user)
		if stamp.Valid(time.Now()) {
			t.Errorf("%+v: the stamp is valid still", scope)
		}
	}
	stamp := stamped(t, tracker)
	tracker.Suspect("get", "")
	tracker.Suspect("", "bob")
	if !stamp.Valid(time.Now()) {
		t.Error("the stamp ended with a change of what does not cover it")
	}
}

func TestNoStampIsValidAfterTheConnectionIsLost(t *testing.T) {
	for name, cut := range map[string]func(*testing.T, *redistest.Server){
		"killed":      func(_ *testing.T, s *redistest.Server) { s.Kill() },
		"hanging":     func(_ *testing.T, s *redistest.Server) { s.Pause() },
		"cut":         func(t *testing.T, s *redistest.Server) { do(t, s.Client(), "CLIENT", "KILL", "TYPE", "pubsub") },
		"not reading": func(t *testing.T, s *redistest.Server) { do(t, s.Client(), "CLIENT", "KILL", "TYPE", "normal") },
		"emptied":     func(t *testing.T, s *redistest.Server) { do(t, s.Client(), "FLUSHALL") },
		"restarted":   func(_ *testing.T, s *redistest.Server) { s.Kill(); s.Restart() },
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			client := server.Client()
			setHeads(t, client, "epoch")
			tracker := run(t, client, 100)
			stamp := stamped(t, tracker)
			cut(t, server)
			becomes(t, stamp, false, "the stamp outlives the connection")
			switch name {
			case "killed":
				server.Restart()
			case "hanging":
				server.Resume()
			}
			stamped(t, tracker)
			if name != "hanging" && stamp.Valid(time.Now()) {
				t.Error("a stamp of the lost connection is valid")
			}
		})
	}
}

func TestTrackerIsBounded(t *testing.T) {
	server := redistest.Start(t)
	tracker := run(t, server.Client(), 10)
	stamp := stamped(t, tracker)
	for i := range 100 {
		tracker.Stamp("list", string(rune('A'+i)), "id")
	}
	if stamp.Valid(time.Now()) {
		t.Error("the stamp outlives the reset")
	}
	stamped(t, tracker)
}

func TestClusterNodeOfTheSlotIsFollowed(t *testing.T) {
	cluster := redistest.StartCluster(t, 3)
	client := cluster.Client()
	setHeads(t, client, "epoch")
	tracker := run(t, client, 100)
	stamp := stamped(t, tracker)
	do(t, client, "DEL", slot+":m")
	becomes(t, stamp, false, "it outlives the change")
}

func TestNothingIsValidBeforeRunAndAfterIt(t *testing.T) {
	server := redistest.Start(t)
	tracker := heads.New(heads.NewLinks(server.Client(), oneServer), slot, 100, noPolicy)
	if stamp := tracker.Stamp("list", "ada", "id"); stamp.Valid(time.Now()) {
		t.Error("valid before Run")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { tracker.Run(ctx, func(error) {}) })
	stamp := stamped(t, tracker)
	cancel()
	running.Wait()
	if stamp.Valid(time.Now()) {
		t.Error("valid after Run")
	}
}

// Nothing is valid before the policy was read, and each change of it is reported.
func TestPolicyIsReadFirstAndWheneverItChanges(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	var reads atomic.Int64
	var fails atomic.Bool
	fails.Store(true)
	tracker := heads.New(heads.NewLinks(client, oneServer), slot, 100, func(context.Context) error {
		reads.Add(1)
		if fails.Load() {
			return errors.New("no policy")
		}
		return nil
	})
	runTracker(t, tracker)
	NewWithT(t).Eventually(reads.Load).WithTimeout(waitTimeout).Should(BeNumerically(">", 1), "it does not try again")
	if stamp := tracker.Stamp("list", "ada", "id"); stamp.Valid(time.Now()) {
		t.Error("a stamp is valid before the policy was read")
	}
	fails.Store(false)
	stamp := stamped(t, tracker)

	before := reads.Load()
	do(t, client, "HSET", slot+":policy", "json", "{}")
	NewWithT(t).Eventually(reads.Load).WithTimeout(waitTimeout).Should(BeNumerically(">", before))
	if !stamp.Valid(time.Now()) {
		t.Error("the policy is none of the heads")
	}
	fails.Store(true)
	do(t, client, "DEL", slot+":policy")
	becomes(t, stamp, false, "the stamp outlives a policy that cannot be read")
}

func TestStampsOfAnOperationCanBeForgotten(t *testing.T) {
	server := redistest.Start(t)
	tracker := run(t, server.Client(), 100)
	list, get := stamped(t, tracker), stampedOf(t, tracker, "get", "ada")
	tracker.Forget("list")
	tracker.Forget("unknown")
	if list.Valid(time.Now()) {
		t.Error("the stamp is valid still")
	}
	if !get.Valid(time.Now()) {
		t.Error("another operation's ended, too")
	}
	stamped(t, tracker)
	if list.Valid(time.Now()) {
		t.Error("the stamp is valid again")
	}
}

// A node from which the slot has moved reports nothing, but go-redis would go on to answer from the
// new one.
func TestSlotThatMovesToAnotherNodeIsFollowedThere(t *testing.T) {
	cluster := redistest.StartCluster(t, 3)
	client := cluster.Client()
	setHeads(t, client, "epoch")
	tracker := run(t, client, 100)
	stamp := stamped(t, tracker)
	cluster.MoveSlot(slot)
	becomes(t, stamp, false, "it outlives the move")

	stamp = stamped(t, tracker)
	do(t, client, "DEL", slot+":m")
	becomes(t, stamp, false, "changes at the new node are not followed")
}

// The connection of a tracker may outlive a failover: to a server that is no longer asked.
func TestNoStampIsValidWhenAnotherServerMayAnswer(t *testing.T) {
	server := redistest.Start(t)
	var generation atomic.Uint64
	tracker := heads.New(heads.NewLinks(server.Client(), generation.Load), slot, 100, noPolicy)
	runTracker(t, tracker)
	stamp := stamped(t, tracker)
	generation.Add(1)
	if stamp.Valid(time.Now()) {
		t.Error("the stamp is valid still")
	}
	if stamp := tracker.Stamp("list", "ada", "id"); stamp.Valid(time.Now()) {
		t.Error("a stamp was given on the old connection")
	}
	stamped(t, tracker) // on a new one
	if stamp.Valid(time.Now()) {
		t.Error("the stamp is valid again")
	}
}

// What is read on another connection is not reported, and connecting costs more than the read.
func TestHeadsAndLogsAreReadOnOneConnection(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	tracker := run(t, client, 100)
	connections := func() string {
		info, err := client.Info(t.Context(), "stats").Result()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(info) {
			if strings.HasPrefix(line, "total_connections_received:") {
				return line
			}
		}
		t.Fatal("Redis does not say how many connections there were")
		return ""
	}
	setHeads(t, client, strings.Repeat("e", 22))
	stamp := stamped(t, tracker)
	before := connections()
	do(t, client, "SET", slot+":o:list", strings.Repeat("f", 22)+":o:list")
	becomes(t, stamp, false, "it outlives the change")
	stamped(t, tracker)
	if after := connections(); after != before {
		t.Errorf("a change of a head made connections: %s, before: %s", after, before)
	}
}
