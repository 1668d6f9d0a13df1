// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"testing"
	"time"

	"github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
)

func fenceOf(t *testing.T, r *Registry, slot Slot) Fence {
	t.Helper()
	fences, err := r.Fences(t.Context(), []Slot{slot})
	if err != nil {
		t.Fatal(err)
	}
	return fences[0]
}

func putInPlace(t *testing.T, r *Registry, fence Fence) Invalidated {
	t.Helper()
	fences := []Fence{fence}
	if err := r.Fence(t.Context(), fences); err != nil || !fences[0].InPlace {
		t.Fatalf("%+v (%v)", fences, err)
	}
	return fences[0].Covered
}

// Who fences first invalidates, and all others find the fence in place, in the same incarnation.
func TestAModuleIsFencedOnceInAnIncarnation(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, caching())
	fillAll(t, r, entry("list", "a", ""), entry("list", "b", ""))

	fence := fenceOf(t, r, users)
	if fence.InPlace || fence.Slot != users {
		t.Fatalf("before: %+v", fence)
	}
	if covered := putInPlace(t, r, fence); covered.Keys != 2 {
		t.Errorf("covered %+v, want 2 keys", covered)
	}
	fillAll(t, r, entry("list", "a", ""))
	putInPlace(t, r, fence)
	if !isHit(t, r, entry("list", "a", "")) {
		t.Error("the second fence invalidated again")
	}
	if again := fenceOf(t, r, users); !again.InPlace || again.Incarnation != fence.Incarnation {
		t.Errorf("after: %+v", again)
	}
}

func TestAMarkPutsAFenceInPlaceAndInvalidatesNothing(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, caching())
	fillAll(t, r, entry("list", "a", ""))
	fence := fenceOf(t, r, users)
	if err := r.MarkFenced(t.Context(), []Fence{fence}); err != nil {
		t.Fatal(err)
	}
	if !fenceOf(t, r, users).InPlace {
		t.Error("it is not in place")
	}
	putInPlace(t, r, fence)
	if !isHit(t, r, entry("list", "a", "")) {
		t.Error("a fence that was in place invalidated")
	}
}

func TestFencesAreRememberedForWeeks(t *testing.T) {
	r, client := newRegistry(t)
	fence := fenceOf(t, r, users)
	putInPlace(t, r, fence)
	if ttl := client.PTTL(t.Context(), keyspace.RequestKey(users, fenceRequest(fence.Incarnation))).Val(); ttl < 15*24*time.Hour {
		t.Errorf("for %s", ttl)
	}
}

// What an older snapshot brings back is not fenced, although it was before the snapshot was made.
func TestARestartWithASnapshotIsAnotherIncarnation(t *testing.T) {
	server := redistest.Start(t)
	r := registryOn(t, server.Client())
	apply(t, r, users, caching())
	before := fenceOf(t, r, users)
	putInPlace(t, r, before)
	fillAll(t, r, entry("list", "a", ""))
	server.Save()
	invalidate(t, r, users, Scope{})

	server.Restart()
	r = registryOn(t, server.Client())
	if !isHit(t, r, entry("list", "a", "")) {
		t.Fatal("the snapshot did not bring the entry back: the test shows nothing")
	}
	after := fenceOf(t, r, users)
	if after.InPlace || after.Incarnation == before.Incarnation {
		t.Errorf("before the restart %+v, after it %+v", before, after)
	}
	if covered := putInPlace(t, r, after); covered.Keys != 1 {
		t.Errorf("covered %+v, want the one that came back", covered)
	}
	if isHit(t, r, entry("list", "a", "")) {
		t.Error("it is live still")
	}
	if err := r.Fence(t.Context(), []Fence{before}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("a fence of an earlier incarnation: %v, want %v", err, ErrUnreachable)
	}
	if err := r.MarkFenced(t.Context(), []Fence{before}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("a mark of an earlier incarnation: %v, want %v", err, ErrUnreachable)
	}
}

func TestAFailoverToAReplicaThatLaggedIsAnotherIncarnation(t *testing.T) {
	t.Parallel()
	group := redistest.StartSentinel(t, 1, 1)
	r := registryOn(t, group.Client())
	apply(t, r, users, caching())
	before := fenceOf(t, r, users)
	putInPlace(t, r, before)
	fillAll(t, r, entry("list", "a", ""))
	group.Primary().WaitReplicated()
	group.Primary().PauseReplication()
	invalidate(t, r, users, Scope{})

	r = registryOn(t, group.Failover().Client())
	if !isHit(t, r, entry("list", "a", "")) {
		t.Fatal("the replica did not lag: the test shows nothing")
	}
	after := fenceOf(t, r, users)
	if after.InPlace || after.Incarnation == before.Incarnation {
		t.Errorf("before the failover %+v, after it %+v", before, after)
	}
	putInPlace(t, r, after)
	if isHit(t, r, entry("list", "a", "")) {
		t.Error("it is live still")
	}
}

// What changes the incarnation without a loss is fenced too: from outside it looks the same.
func TestWhatChangesTheIncarnation(t *testing.T) {
	t.Parallel()
	present := func(t *testing.T, client *redis.Client) Incarnation {
		t.Helper()
		incarnation, err := IncarnationOf(t.Context(), client)
		if err != nil {
			t.Fatal(err)
		}
		return incarnation
	}
	t.Run("nothing, while the primary goes on", func(t *testing.T) {
		primary := redistest.Start(t)
		replica := redistest.StartReplica(t, primary)
		client := primary.Client()
		before := present(t, client)
		replica.Restart()
		primary.WaitReplicated()
		primary.PauseReplication()
		primary.ResumeReplication()
		primary.WaitReplicated()
		if after := present(t, client); after != before {
			t.Errorf("%s, then %s", before, after)
		}
	})
	t.Run("a plain restart", func(t *testing.T) {
		server := redistest.Start(t)
		before := present(t, server.Client())
		server.Restart()
		if present(t, server.Client()) == before {
			t.Error("it did not")
		}
	})
	t.Run("a demotion and promotion of the same process", func(t *testing.T) {
		other := redistest.Start(t)
		replica := redistest.StartReplica(t, other)
		client := replica.Client()
		before := present(t, client)
		if err := client.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
			t.Fatal(err)
		}
		if present(t, client) == before {
			t.Error("it did not")
		}
	})
	t.Run("the first replica", func(t *testing.T) {
		server := redistest.Start(t)
		before := present(t, server.Client())
		redistest.StartReplica(t, server)
		if present(t, server.Client()) == before {
			t.Error("it did not")
		}
	})
}

func TestFencesOfAClusterAreThoseOfEachPrimary(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	r := New(cluster.Client())
	slots := []Slot{users, {Namespace: "shop", Module: "posts"}, {Namespace: "shop", Module: "comments"}, {Namespace: "blog", Module: "users"}, {Namespace: "blog", Module: "posts"}}
	fences, err := r.Fences(t.Context(), slots)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Fence(t.Context(), fences); err != nil {
		t.Fatal(err)
	}
	cluster.Servers()[1].Restart()
	cluster.WaitReady()
	eventually(t, func(g gomega.Gomega) {
		after, err := r.Fences(t.Context(), slots)
		g.Expect(err).NotTo(gomega.HaveOccurred())
		for i, fence := range after {
			g.Expect(fence.InPlace).To(gomega.Equal(fence.Incarnation == fences[i].Incarnation), "%+v", fence)
		}
	}).Should(gomega.Succeed())
}

func TestReadingFencesTakesTwoRoundTrips(t *testing.T) {
	r, client := newRegistry(t)
	slots := make([]Slot, 50)
	for i := range slots {
		slots[i] = Slot{Namespace: "shop", Module: moduleName(i)}
	}
	trips := &roundTrips{}
	client.AddHook(trips)
	if n := trips.during(func() {
		if _, err := r.Fences(t.Context(), slots); err != nil {
			t.Fatal(err)
		}
	}); n != 2 {
		t.Errorf("%d round trips for %d slots", n, len(slots))
	}
}

func moduleName(i int) string { return string(rune('a'+i%26)) + string(rune('a'+i/26)) }
