// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
)

// roundTrips counts how often a client waits for a server: a pipeline counts once.
type roundTrips struct{ n atomic.Int64 }

func (r *roundTrips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (r *roundTrips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		r.n.Add(1)
		return next(ctx, cmd)
	}
}

func (r *roundTrips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		r.n.Add(1)
		return next(ctx, cmds)
	}
}

// during returns the round trips that a call takes on connections that are there already.
func (r *roundTrips) during(call func()) int64 {
	call()
	before := r.n.Load()
	call()
	return r.n.Load() - before
}

func check(t *testing.T, r *Registry) Health {
	t.Helper()
	health, err := r.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return health
}

func TestCheckTakesOneRoundTrip(t *testing.T) {
	r, client := newRegistry(t)
	trips := &roundTrips{}
	client.AddHook(trips)
	if n := trips.during(func() { check(t, r) }); n != 1 {
		t.Errorf("%d round trips", n)
	}
}

func TestAWrongPasswordIsNamedWherePipelinesAreSent(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "correct-horse")
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Password: "battery-staple"})
	t.Cleanup(func() { _ = client.Close() })
	r, slots := New(client), []Slot{{Namespace: "shop", Module: "users"}}
	_, errCheck := r.Check(t.Context())
	_, errStats := r.StatsOf(t.Context(), slots)
	_, errHashes := r.PolicyHashes(t.Context(), slots)
	for call, err := range map[string]error{"Check": errCheck, "StatsOf": errStats, "PolicyHashes": errHashes} {
		if !errors.Is(err, ErrUnauthorized) {
			t.Errorf("%s: error %v", call, err)
		}
	}
}

func TestCheckShowsReplicationMemoryAndPersistence(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lfu")
	replica := redistest.StartReplica(t, server)
	r := registryOn(t, server.Client())
	server.WaitReplicated()
	health := check(t, r)
	p := health.Primaries[0]
	if p.Addr != server.Addr() || p.RunID == "" || p.ReplicationID == "" || p.FormerReplicationID != "" || p.IsReplica || p.Offset == 0 {
		t.Errorf("replication: %+v", p)
	}
	if p.MaxMemory != 50<<20 || p.EvictionPolicy != "allkeys-lfu" || p.UsedMemory == 0 || p.UsedMemory > 50<<20 {
		t.Errorf("memory: %+v", p)
	}
	if p.AppendOnly || p.Snapshots != 0 || p.RestoredKeys != 0 {
		t.Errorf("persistence: %+v", p)
	}
	if len(p.Replicas) != 1 || p.Replicas[0].Addr != replica.Addr() || !p.Replicas[0].Online {
		t.Errorf("replicas: %+v", p.Replicas)
	}
	if warnings := health.Warnings(); len(warnings) > 0 {
		t.Errorf("warns of %v", warnings)
	}
}

// What a server began with decides whether something of a module can have come back that nobody
// asked for then.
func TestCheckShowsWhetherAServerBeganEmpty(t *testing.T) {
	t.Parallel()
	one := func(t *testing.T, server *redistest.Server) *Registry {
		t.Helper()
		r := New(server.Client())
		if err := server.Client().Set(t.Context(), "key", "value", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if !check(t, r).Primaries[0].BeganEmpty() {
			t.Error("it was just started, and is said to have begun with data")
		}
		return r
	}
	t.Run("restarted without data", func(t *testing.T) {
		server := redistest.Start(t)
		r := one(t, server)
		server.Restart()
		if !check(t, r).Primaries[0].BeganEmpty() {
			t.Error("it is said to have begun with data")
		}
	})
	t.Run("restarted with a snapshot", func(t *testing.T) {
		server := redistest.Start(t)
		r := one(t, server)
		server.Save()
		server.Restart()
		if check(t, r).Primaries[0].BeganEmpty() {
			t.Error("it is said to have begun empty")
		}
	})
	t.Run("with an append-only file", func(t *testing.T) {
		if check(t, New(redistest.Start(t, "--appendonly", "yes").Client())).Primaries[0].BeganEmpty() {
			t.Error("it is said to have begun empty")
		}
	})
	t.Run("promoted", func(t *testing.T) {
		server := redistest.Start(t)
		one(t, server)
		client := redistest.StartReplica(t, server).Client()
		if err := client.ReplicaOf(t.Context(), "NO", "ONE").Err(); err != nil {
			t.Fatal(err)
		}
		if check(t, New(client)).Primaries[0].BeganEmpty() {
			t.Error("it is said to have begun empty")
		}
	})
}

// kinds lists what a store is warned of.
func kinds(health Health) string {
	var found []string
	for _, warning := range health.Warnings() {
		if !strings.HasPrefix(warning.Message, warning.Addr) {
			found = append(found, "(does not name the server)")
		}
		found = append(found, string(warning.Kind))
	}
	return strings.Join(slices.Compact(found), " ")
}

func TestCheckWarnsOfWhatEndangersUsers(t *testing.T) {
	const mib = 1 << 20
	tests := []struct {
		name    string
		primary Primary
		want    string
	}{
		{"nothing", Primary{MaxMemory: 100 * mib, UsedMemory: 10 * mib, EvictionPolicy: "noeviction"}, ""},
		{"no limit", Primary{UsedMemory: 10 * mib, EvictionPolicy: "noeviction"}, ""},
		{"full, and may not evict", Primary{MaxMemory: 100 * mib, UsedMemory: 99 * mib, EvictionPolicy: "noeviction"}, "MemoryFull"},
		{"full, and evicts", Primary{MaxMemory: 100 * mib, UsedMemory: 100 * mib, EvictionPolicy: "allkeys-lru"}, ""},
		{"a replica", Primary{IsReplica: true}, "NotPrimary"},
		{"a replica follows", Primary{Replicas: []Replica{{Online: true, Lag: time.Second, Behind: 1000}}}, ""},
		{"a replica is silent", Primary{Replicas: []Replica{{Online: true, Lag: time.Minute}}}, "ReplicaLags"},
		{"a replica is far behind", Primary{Replicas: []Replica{{Online: true, Behind: 100 * mib}}}, "ReplicaLags"},
		{"a replica is being filled", Primary{Replicas: []Replica{{Behind: 100 * mib}}}, ""},
		{"no ids in INFO", Primary{Anonymous: true}, "LossUnseen"},
		{"append-only file", Primary{AppendOnly: true}, "RestoresOldState"},
		{"snapshots", Primary{Snapshots: 1}, "RestoresOldState"},
		{"restored", Primary{RestoredKeys: 1}, "RestoresOldState"},
	}
	for _, test := range tests {
		test.primary.Addr = "r:6379"
		if got := kinds(Health{Primaries: []Primary{test.primary}}); got != test.want {
			t.Errorf("%s: warns of %q, want %q", test.name, got, test.want)
		}
	}
}

// The same on servers that are in danger.
func TestServersInDangerAreSeen(t *testing.T) {
	t.Parallel()
	t.Run("append-only file", func(t *testing.T) {
		r, _ := newRegistry(t, "--appendonly", "yes")
		if got := kinds(check(t, r)); got != "RestoresOldState" {
			t.Errorf("warns of %q", got)
		}
	})
	t.Run("restarted with a snapshot", func(t *testing.T) {
		server := redistest.Start(t)
		r := registryOn(t, server.Client())
		apply(t, r, users, caching())
		server.Save()
		if got := kinds(check(t, r)); got != "RestoresOldState" {
			t.Errorf("after a snapshot: warns of %q", got)
		}
		server.Restart()
		if got := kinds(check(t, registryOn(t, server.Client()))); got != "RestoresOldState" {
			t.Errorf("after a restart: warns of %q", got)
		}
	})
	t.Run("a replica in a primary's place", func(t *testing.T) {
		replica := redistest.StartReplica(t, redistest.Start(t))
		if got := kinds(check(t, New(replica.Client()))); !strings.Contains(got, "NotPrimary") {
			t.Errorf("warns of %q", got)
		}
	})
	t.Run("a replica that is frozen", func(t *testing.T) {
		primary := redistest.Start(t)
		replica := redistest.StartReplica(t, primary)
		r := registryOn(t, primary.Client())
		primary.WaitReplicated()
		warnings := func() string { return kinds(check(t, r)) }
		if got := warnings(); strings.Contains(got, "ReplicaLags") {
			t.Errorf("in sync: warns of %q", got)
		}
		replica.Pause()
		t.Cleanup(replica.Resume)
		eventually(t, warnings).WithTimeout(time.Minute).Should(gomega.ContainSubstring("ReplicaLags"), "silent for long")
		replica.Resume()
		eventually(t, warnings).WithTimeout(time.Minute).ShouldNot(gomega.ContainSubstring("ReplicaLags"), "back")
	})
	t.Run("a replica that is far behind", func(t *testing.T) {
		primary := redistest.Start(t)
		replica := redistest.StartReplica(t, primary)
		client := primary.Client()
		r := registryOn(t, client)
		primary.WaitReplicated()
		replica.Pause()
		t.Cleanup(replica.Resume)
		blob := strings.Repeat("x", 1<<20)
		for i := range 16<<20/len(blob) + 1 {
			if err := client.Set(t.Context(), "blob", blob, 0).Err(); err != nil {
				t.Fatal(i, err)
			}
		}
		if got := kinds(check(t, r)); !strings.Contains(got, "ReplicaLags") {
			t.Errorf("warns of %q", got)
		}
	})
	t.Run("full", func(t *testing.T) {
		r, client := newRegistry(t, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
		blob := strings.Repeat("x", 10_000)
		for i := 0; client.Append(t.Context(), "blob", blob).Err() == nil; i++ {
			if i > 1000 {
				t.Fatal("10 MB fit into 3")
			}
		}
		if got := kinds(check(t, r)); got != "MemoryFull" {
			t.Errorf("warns of %q", got)
		}
	})
}

func TestEveryNewPrimaryGetsTheLibrary(t *testing.T) {
	t.Parallel()
	group := redistest.StartSentinel(t, 1, 1)
	r := registryOn(t, group.Client())
	group.Primary().WaitReplicated()
	promoted := group.Failover()
	if loaded, err := New(promoted.Client()).Install(t.Context()); err != nil || loaded != 0 {
		t.Errorf("the promoted replica needed the library %d times (%v); replication carries it", loaded, err)
	}
	if err := promoted.Client().FunctionFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { _, err := r.Install(t.Context()); return err }).Should(gomega.Succeed())
	if version, err := loadedVersion(t.Context(), promoted.Client()); err != nil || version != LibraryVersion {
		t.Errorf("the new primary has version %d (%v)", version, err)
	}
}

func TestStatsOfManySlotsTakeARoundTripPerBatch(t *testing.T) {
	r, client := newRegistry(t)
	const n = 2*20 + 1
	slots := make([]Slot, n)
	for i := range slots {
		slots[i] = Slot{Namespace: "shop", Module: "m" + strings.Repeat("x", i%7) + string(rune('a'+i%26))}
	}
	apply(t, r, slots[1], caching())
	fillAll(t, r, Key{Slot: slots[1], Operation: "list", ID: "a"})
	trips := &roundTrips{}
	client.AddHook(trips)
	var stats []Stats
	took := trips.during(func() {
		var err error
		if stats, err = r.StatsOf(t.Context(), slots); err != nil {
			t.Fatal(err)
		}
	})
	if took != 3 {
		t.Errorf("%d round trips for %d slots", took, n)
	}
	if len(stats) != n || stats[1].Keys != 1 || stats[1].Operations["list"].Fills != 1 || stats[0].Keys != 0 {
		t.Errorf("%d figures, the second is %+v", len(stats), stats[1])
	}
}

func TestStatsOfSlotsOfAClusterLoadAMissingLibrary(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	r := New(cluster.Client())
	slots := []Slot{users, {Namespace: "shop", Module: "posts"}, {Namespace: "shop", Module: "comments"}, {Namespace: "blog", Module: "users"}}
	for _, slot := range slots {
		apply(t, r, slot, caching())
		fillAll(t, r, Key{Slot: slot, Operation: "list", ID: "a"}, Key{Slot: slot, Operation: "list", ID: "b"})
	}
	for _, server := range cluster.Servers() {
		if err := server.Client().FunctionFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	stats, err := r.StatsOf(t.Context(), slots)
	if err != nil {
		t.Fatal(err)
	}
	for i, slot := range slots {
		if stats[i].Keys != 2 {
			t.Errorf("%s: %+v", slot, stats[i])
		}
	}
}

// go-redis gives the calls of a pipeline no error where the connection's user is refused.
func TestARefusedUserIsNotTakenForAnEmptyAnswer(t *testing.T) {
	server := redistest.Start(t)
	server.AddUser("cachewright", "right", "~cw:{*", "+@all")
	wrong := New(server.ClientAs("cachewright", "wrong"))
	slots := []Slot{{Namespace: "shop", Module: "users"}}

	_, errCheck := wrong.Check(t.Context())
	_, errStats := wrong.StatsOf(t.Context(), slots)
	_, errHashes := wrong.PolicyHashes(t.Context(), slots)
	_, errFences := wrong.Fences(t.Context(), slots)
	for call, err := range map[string]error{"Check": errCheck, "StatsOf": errStats, "PolicyHashes": errHashes, "Fences": errFences} {
		if !errors.Is(err, ErrUnauthorized) {
			t.Errorf("%s: %v; want that access is refused", call, err)
		}
	}
}
