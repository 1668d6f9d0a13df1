// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
)

// servedBy returns a slot by the incarnation that serves it.
func servedBy(t *testing.T, r *Registry, slot Slot) map[Incarnation]Slot {
	t.Helper()
	incarnation, err := IncarnationOf(t.Context(), r.client)
	if err != nil {
		t.Fatal(err)
	}
	return map[Incarnation]Slot{incarnation: slot}
}

func wantHeartbeat(t *testing.T, r *Registry, slot Slot, want time.Time) {
	t.Helper()
	if last, err := r.LastHeartbeat(t.Context(), slot); err != nil || !last.Equal(want) {
		t.Errorf("the last heartbeat in %s is of %s (%v), want %s", slot, last, err, want)
	}
}

// A heartbeat belongs to the state that it is found in.
func TestAHeartbeatTellsTheAgeOfAState(t *testing.T) {
	server := redistest.Start(t)
	r := New(server.Client())
	wantHeartbeat(t, r, users, time.Time{})
	saved := time.UnixMilli(1_700_000_000_000)
	for _, now := range []time.Time{saved, saved.Add(time.Hour)} {
		if err := r.Heartbeat(t.Context(), servedBy(t, r, users), now); err != nil {
			t.Fatal(err)
		}
		wantHeartbeat(t, r, users, now)
		if now.Equal(saved) {
			server.Save()
		}
	}
	server.Restart()
	wantHeartbeat(t, New(server.Client()), users, saved)
}

// interruption runs once, before a client sends a certain command.
type interruption struct {
	before string
	run    func()
	once   sync.Once
}

func (i *interruption) DialHook(next redis.DialHook) redis.DialHook { return next }

func (i *interruption) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		i.meet(cmd)
		return next(ctx, cmd)
	}
}

func (i *interruption) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		i.meet(cmds...)
		return next(ctx, cmds)
	}
}

func (i *interruption) meet(cmds ...redis.Cmder) {
	for _, cmd := range cmds {
		if cmd.Name() == i.before {
			i.once.Do(i.run)
		}
	}
}

// A heartbeat on an older state would claim that nothing was lost since. So one that is under way
// while the server goes back in time is not written, however often the client tries again.
func TestAHeartbeatNeverReachesAnOlderState(t *testing.T) {
	saved := time.UnixMilli(1_700_000_000_000)
	for _, command := range []string{"info", "set"} {
		t.Run("back in time before "+command, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			client := server.Client()
			r := New(client)
			served := servedBy(t, r, users)
			if err := r.Heartbeat(t.Context(), served, saved); err != nil {
				t.Fatal(err)
			}
			server.Save()
			back := &interruption{before: command, run: server.Restart}
			client.AddHook(back)

			err := r.Heartbeat(t.Context(), served, saved.Add(time.Hour))
			if !errors.Is(err, ErrUnreachable) {
				t.Errorf("got %v, want %v", err, ErrUnreachable)
			}
			back.once.Do(func() { t.Error("the server did not go back in time: the test shows nothing") })
			wantHeartbeat(t, New(server.Client()), users, saved)
		})
	}
}

// A primary of a cluster that went back in time gets none, and the others do.
func TestHeartbeatsOfAClusterAreThoseOfEachPrimary(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 2)
	r := New(cluster.Client())
	slots := map[Incarnation]Slot{}
	eventually(t, func(g gomega.Gomega) {
		fences, err := r.Fences(t.Context(), []Slot{users, posts, {Namespace: "shop", Module: "comments"}, {Namespace: "blog", Module: "users"}})
		g.Expect(err).NotTo(gomega.HaveOccurred())
		for _, fence := range fences {
			slots[fence.Incarnation] = fence.Slot
		}
	}).Should(gomega.Succeed())
	if len(slots) != 2 {
		t.Fatalf("the slots %v are not of two primaries: the test shows nothing", slots)
	}
	now := time.UnixMilli(1_700_000_000_000)
	if err := r.Heartbeat(t.Context(), slots, now); err != nil {
		t.Fatal(err)
	}
	restarted, err := IncarnationOf(t.Context(), cluster.Servers()[1].Client())
	if err != nil {
		t.Fatal(err)
	}
	cluster.Servers()[1].Restart()
	cluster.WaitReady()

	eventually(t, func(g gomega.Gomega) {
		var broken SlotErrors
		g.Expect(errors.As(r.Heartbeat(t.Context(), slots, now.Add(time.Hour)), &broken)).To(gomega.BeTrue())
		g.Expect(broken).To(gomega.HaveLen(1))
		g.Expect(broken[slots[restarted]]).To(gomega.MatchError(gomega.ContainSubstring("another state of its data")))
	}).Should(gomega.Succeed())
	for incarnation, slot := range slots {
		want := now.Add(time.Hour)
		if incarnation == restarted {
			want = time.Time{}
		}
		wantHeartbeat(t, r, slot, want)
	}
}

// At most one connection, and no more round trips for more slots.
func TestAHeartbeatTakesTwoRoundTrips(t *testing.T) {
	r, client := newRegistry(t)
	trips := &roundTrips{}
	client.AddHook(trips)
	served := servedBy(t, r, users)
	if n := trips.during(func() {
		if err := r.Heartbeat(t.Context(), served, time.Now()); err != nil {
			t.Fatal(err)
		}
	}); n != 2 {
		t.Errorf("%d round trips", n)
	}
	if dials := client.PoolStats().Misses; dials > 1 {
		t.Errorf("%d connections were made", dials)
	}
}
