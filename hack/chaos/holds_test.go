// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// slowLoads: one of so many loads may last longer than a hold.
const slowLoads = 300

// heldRun is a run in which writers hold what they change.
type heldRun struct {
	run

	ledger  ledger
	longer  time.Duration // how much longer than maxHold a hold may last
	commits atomic.Int64
	failed  atomic.Int64 // holds that did not begin
	found   [findings]atomic.Int64
}

func (r *heldRun) violated() int64 {
	return r.found[tooOld].Load() + r.found[served].Load() + r.found[stored].Load()
}

// load reads the source, slowly.
func (r *heldRun) load(key cache.Key) value {
	r.loads.Add(1)
	loaded, at := r.history.tick(), time.Now().UnixNano()
	time.Sleep(rand.N(time.Millisecond))
	version := r.ledger.row(key).version.Load()
	time.Sleep(rand.N(time.Millisecond))
	if rand.IntN(slowLoads) == 0 {
		time.Sleep(rand.N(2 * maxHold))
	}
	return value{loaded, at, version}
}

func (r *heldRun) judge(reading *reading) {
	reading.end, reading.endAt = r.history.tick(), time.Now().UnixNano()
	found := r.ledger.judge(reading)
	r.found[found].Add(1)
}

// read makes one read through a client.
func (r *heldRun) read(ctx context.Context, m *member) error {
	reading := &reading{key: randomKey(), began: r.history.tick(), at: time.Now(), by: m.number, near: m.near}
	read, err := cache.Fetch(ctx, m.client, reading.key, func(context.Context) (value, error) {
		return r.load(reading.key), nil
	})
	if err != nil {
		return err
	}
	reading.value = read
	r.judge(reading)
	return nil
}

// readRedis reads and fills as a client in another language does.
func (r *heldRun) readRedis(ctx context.Context) {
	reading := &reading{key: randomKey(), began: r.history.tick(), at: time.Now(), by: nobody}
	id, err := cache.ID(reading.key.Params)
	if err != nil {
		panic(err)
	}
	key := registry.Key{Slot: slot, Operation: reading.key.Operation, ID: id, User: reading.key.User}
	lookup, err := r.registry.Lease(ctx, key)
	if err != nil {
		return
	}
	if !lookup.Hit {
		r.fill(ctx, key, r.load(reading.key), lookup.Token)
		return
	}
	r.foreign.Add(1)
	if err := json.Unmarshal(lookup.Payload, &reading.value); err != nil {
		panic(err)
	}
	r.judge(reading)
}

func (r *heldRun) fill(ctx context.Context, key registry.Key, loaded value, token registry.Token) {
	payload, err := json.Marshal(loaded)
	if err != nil {
		panic(err)
	}
	_, _ = r.registry.Set(ctx, key, payload, token)
}

// start runs readers and writers until there is enough.
func (r *heldRun) start(t *testing.T, store store, plan plan) {
	t.Helper()
	l := r.begin(t, store, crew{members: plan.members, read: r.read, enough: plan.enough, disturb: plan.disturb})
	for _, holder := range plan.holders {
		l.repeat(100*time.Millisecond, func(ctx context.Context) { r.write(ctx, holder, plan.scopeOf) })
	}
	if !plan.withoutRaw {
		for range 4 {
			l.repeat(time.Millisecond, r.readRedis)
		}
	}
	l.repeat(200*time.Millisecond, r.invalidate)
	l.wait()
	r.log(t)
}

// plan says who takes part in a run.
type plan struct {
	members []*member
	holders []holder
	scopeOf func(cache.Key) scope // what a holder holds to change a row
	enough  func() bool
	disturb func()
	// withoutRaw: nobody reads as a client in another language does.
	withoutRaw bool
}

func (r *heldRun) log(t *testing.T) {
	t.Helper()
	t.Logf("%d reads, %d of them with near caches: %d answered by Redis and %d from memory, %d loads; %d hits of another client; "+
		"%d commits under holds, %d holds that failed; %d reads were too old, %d were served and %d loaded while a hold stood; "+
		"%d reads of near caches were late; where marks were taken away, %d reads were too old before the release, and %d after the holder died",
		r.total(), r.nearReads.Load(), r.answers.redis.Load(), r.answers.memory.Load(), r.loads.Load(), r.foreign.Load(),
		r.commits.Load(), r.failed.Load(), r.found[tooOld].Load(), r.found[served].Load(), r.found[stored].Load(),
		r.found[late].Load(), r.found[exposed].Load(), r.found[orphaned].Load())
}

// aViolation is enough for a check that must find one. It gives up after three minutes.
func (r *heldRun) aViolation() func() bool {
	end := time.Now().Add(3 * time.Minute)
	return func() bool { return r.violated() > 0 || time.Now().After(end) }
}

// check fails the test if the run found violations, or proves too little.
func (r *heldRun) check(t *testing.T, wanted int64) {
	t.Helper()
	if n := r.violated(); n > 0 {
		t.Errorf("%d reads broke the rules of holds", n)
	}
	if !r.enough(wanted)() || r.foreign.Load() == 0 || r.commits.Load() < 20 {
		t.Error("too little was read from the cache, or committed: the test proves nothing")
	}
}

// Writers hold what they change while Redis is killed, frozen, emptied and forgets marks, and while
// holders die and freeze. No read sees what was before a commit, but for what nobody can promise.
func TestNoReadReturnsWhatWasBeforeACommitUnderAHold(t *testing.T) {
	server := redistest.Start(t)
	r := &heldRun{}
	store, wanted := storeOf(server), readsWanted(t, 60_000)
	members := r.members(t, store, nil)
	r.start(t, store, plan{
		members: members,
		holders: r.holders(t, store, members), scopeOf: randomHold,
		enough:  r.enough(wanted),
		disturb: r.unlessStarved(func() { r.disturb(t.Context(), server, func() {}) }),
	})
	r.check(t, wanted)
	r.checkEnd(t, members[0], server)
}

// The same holds for a module of a cluster.
func TestNoReadOfAClusterReturnsWhatWasBeforeACommitUnderAHold(t *testing.T) {
	cluster := redistest.StartCluster(t, 3)
	r := &heldRun{}
	store, wanted := store(cluster.Addrs()), readsWanted(t, 200_000)/10
	members := r.members(t, store, nil)
	r.start(t, store, plan{
		members: members,
		holders: r.holders(t, store, members), scopeOf: randomHold,
		enough: r.enough(wanted),
		disturb: r.unlessStarved(func() {
			server := cluster.Servers()[rand.IntN(len(cluster.Servers()))]
			r.disturb(t.Context(), server, cluster.WaitReady)
		}),
	})
	r.check(t, wanted)
	r.checkEnd(t, members[0], cluster.Servers()...)
}

// holders returns holders of each kind.
func (r *heldRun) holders(t *testing.T, store store, members []*member) []holder {
	t.Helper()
	all := slices.Repeat([]holder{foreignHolder{registry.New(store.open(t, nil))}}, 4)
	for _, m := range members {
		all = append(all, clientHolder{m}, &processHolder{t: t, store: store})
	}
	return all
}

// Two hundred writers hold one table at a time, which is more than a mark names. None is refused,
// and the table is cached again when they are done.
func TestNoneOfTwoHundredWritersOfOneTableIsRefused(t *testing.T) {
	server, r := redistest.Start(t), &heldRun{}
	store := storeOf(server)
	members := r.members(t, store, nil)
	writer := foreignHolder{registry.New(store.open(t, nil))}
	r.start(t, store, plan{
		members: members,
		holders: slices.Repeat([]holder{writer}, 200),
		scopeOf: func(cache.Key) scope { return scope{} },
		enough:  func() bool { return r.commits.Load()+r.failed.Load() > 1000 },
	})
	if failed := r.failed.Load(); failed > 0 || r.violated() > 0 {
		t.Errorf("%d holds were refused, and %d reads broke the rules of holds", failed, r.violated())
	}
	r.checkEnd(t, members[0], server)
}
