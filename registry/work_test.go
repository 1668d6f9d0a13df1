// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
)

// reclaimedAtOnce is what a call of the operator and of clients asks for.
const reclaimedAtOnce = 200

// fillCount fills so many entries of an operation.
func fillCount(tb testing.TB, r *Registry, operation, user string, count int, payload string) {
	tb.Helper()
	token := lease(tb, r, entry(operation, "token", user)).Token
	const workers = 32
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for i := worker; i < count; i += workers {
				filled, err := r.Set(tb.Context(), entry(operation, strconv.Itoa(i), user), []byte(payload), token)
				if err != nil || filled.Outcome != Stored {
					tb.Errorf("entry %d: %s, %v", i, filled.Outcome, err)
					return
				}
			}
		})
	}
	group.Wait()
}

// commandsRun returns how many commands the server has run, those that functions called included.
func commandsRun(tb testing.TB, client *redis.Client) int {
	tb.Helper()
	info, err := client.Info(tb.Context(), "commandstats").Result()
	if err != nil {
		tb.Fatal(err)
	}
	sum := 0
	for line := range strings.Lines(info) {
		if _, figures, found := strings.Cut(line, ":calls="); found {
			calls, err := strconv.Atoi(figures[:strings.IndexByte(figures, ',')])
			if err != nil {
				tb.Fatal(err)
			}
			sum += calls
		}
	}
	return sum
}

// largeWork may concern any number of entries. Each returns whether to call it again.
var largeWork = []struct {
	name string
	call func(testing.TB, *Registry) (again bool)
}{
	{"statistics", func(tb testing.TB, r *Registry) bool {
		tb.Helper()
		if _, err := r.Stats(tb.Context(), users); err != nil {
			tb.Fatal(err)
		}
		return false
	}},
	{"a soft invalidation", func(tb testing.TB, r *Registry) bool {
		tb.Helper()
		softly(tb, r, Scope{Operation: "list"})
		return false
	}},
	{"a policy with a lowered TTL", func(tb testing.TB, r *Registry) bool {
		tb.Helper()
		apply(tb, r, users, Policy{DefaultTTL: new(time.Minute)})
		return false
	}},
	{"a sweep of lowered TTLs", reclaimOnce},
	{"an invalidation of an operation", invalidateOnce(Scope{Operation: "list"})},
	{"reclaim of an operation", reclaimOnce},
	{"an invalidation of a user", invalidateOnce(Scope{User: "u"})},
	{"reclaim of a user's", reclaimOnce},
	{"an invalidation of the module", invalidateOnce(Scope{})},
	{"reclaim", reclaimOnce},
}

func invalidateOnce(scope Scope) func(testing.TB, *Registry) bool {
	return func(tb testing.TB, r *Registry) bool {
		tb.Helper()
		invalidate(tb, r, users, scope)
		return false
	}
}

func reclaimOnce(tb testing.TB, r *Registry) bool {
	tb.Helper()
	reclaimed, err := r.Reclaim(tb.Context(), users, reclaimedAtOnce)
	if err != nil {
		tb.Fatal(err)
	}
	if reclaimed.Freed > reclaimedAtOnce {
		tb.Errorf("a call freed %d entries", reclaimed.Freed)
	}
	return reclaimed.Pending > 0
}

// wantWorkBounded does the large work and checks how many commands one call of each took at the
// most.
func wantWorkBounded(t *testing.T, r *Registry, client *redis.Client, bound int) {
	t.Helper()
	for _, work := range largeWork {
		most := 0
		for again := true; again; {
			before := commandsRun(t, client)
			again = work.call(t, r)
			most = max(most, commandsRun(t, client)-before)
		}
		t.Logf("%s: at most %d commands in a call", work.name, most)
		if most > bound {
			t.Errorf("%s takes %d commands in a call, want %d at most", work.name, most, bound)
		}
	}
	if left := keyCount(t, client, users, "e:"); left > 0 {
		t.Errorf("%d entries were not reclaimed", left)
	}
}

// No call does more than its share, however many entries there are, so none blocks other clients
// for long.
func TestWorkOfACallIsBounded(t *testing.T) {
	const (
		entries = 20_000 // many times what a call takes on
		// bound is per entry that a call handles: to read it, to shorten it and to list it again.
		bound = 4 * reclaimedAtOnce
	)
	r, client := newRegistry(t)
	apply(t, r, users, Policy{DefaultTTL: new(time.Hour)})
	fillCount(t, r, "list", "", entries, "x")
	fillCount(t, r, "other", "u", entries/4, "x")
	wantWorkBounded(t, r, client, bound)
}

// A call that concerns many operations runs only a few commands for each, however many entries and
// slices they have.
func TestWorkOfACallIsBoundedByTheNumberOfOperations(t *testing.T) {
	const operations, each = 50, 300
	r, client := newRegistry(t)
	policy := Policy{}
	for i := range operations {
		policy.Operations = append(policy.Operations, OperationPolicy{Name: fmt.Sprint("op", i), TTL: 2 * time.Minute, JitterPercent: 50})
	}
	policy.Operations[0].Name = "list"
	apply(t, r, users, policy)
	for _, operation := range policy.Operations {
		fillCount(t, r, operation.Name, "u", each, "x")
	}
	wantWorkBounded(t, r, client, 700+25*operations)
}

// Of members whose time is nearly over a call looks at few, one by one, however many operations
// have them.
func TestWorkOfCountingIsBoundedWhileEntriesExpire(t *testing.T) {
	const operations, each = 50, 200
	r, client := newRegistry(t)
	apply(t, r, users, Policy{DefaultTTL: new(time.Hour)}) // expires nothing while it is being filled
	names := make([]string, operations)
	for i := range names {
		names[i] = fmt.Sprint("op", i)
		fillCount(t, r, names[i], "", each, "x")
	}
	policy := Policy{}
	for _, name := range names {
		policy.Operations = append(policy.Operations, OperationPolicy{Name: name, TTL: 2 * time.Second, JitterPercent: 50})
	}
	apply(t, r, users, policy)
	for _, name := range names {
		fillCount(t, r, name, "", each, "x")
	}
	expired := func() bool { return keyCount(t, client, users, "e:") < operations*each*3/4 }
	eventually(t, expired).Should(gomega.BeTrue())
	before := commandsRun(t, client)
	if _, err := r.Stats(t.Context(), users); err != nil {
		t.Fatal(err)
	}
	// On a slow machine the entries are spread over more slices, and each slice takes some commands.
	// To look at up to 64 members of each operation would take 3,200.
	if took := commandsRun(t, client) - before; took > 700+20*operations {
		t.Errorf("statistics take %d commands", took)
	}
}

// What waits costs a call of reclaim no more than what it takes on.
func TestWorkOfACallIsBoundedHoweverMuchWaits(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	const rounds, each = 60, 150
	for range rounds {
		fillCount(t, r, "list", "", each, "x")
		invalidate(t, r, users, Scope{Operation: "list"})
		fillCount(t, r, "list", "u", each, "x")
		invalidate(t, r, users, Scope{User: "u"})
	}
	for limit, bound := range map[int]int{1: 24, reclaimedAtOnce: 4 * reclaimedAtOnce} {
		before := commandsRun(t, client)
		reclaimed, err := r.Reclaim(t.Context(), users, limit)
		if took := commandsRun(t, client) - before; err != nil || took > bound {
			t.Errorf("a call for %d entries took %d commands (%v), want %d at most", limit, took, err, bound)
		}
		if reclaimed.Pending < rounds*each {
			t.Errorf("only %d entries wait", reclaimed.Pending)
		}
	}
	reclaimAll(t, r, users)
	if left := keyCount(t, client, users, "e:"); left > 0 {
		t.Errorf("%d entries were not reclaimed", left)
	}
}

// Indexes that have nothing left in them cost a call of reclaim, too: it does not walk through all
// of them at once.
func TestEmptyWorkIsBounded(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	const rounds, each = 100, 129
	for range rounds {
		fillCount(t, r, "list", "", each, "x")
		invalidate(t, r, users, Scope{Operation: "list"})
	}
	for _, key := range keysOf(t, client, users) {
		if strings.HasPrefix(key, "i:") {
			client.Del(t.Context(), keyOf(users)+":"+key)
		}
	}
	before := commandsRun(t, client)
	again := reclaimOnce(t, r)
	if took := commandsRun(t, client) - before; !again || took > 2*reclaimedAtOnce {
		t.Errorf("a call took %d commands, and leaves work: %v", took, again)
	}
}

// So do chunks that a sweep finds empty: a TTL that is lowered again and again leaves many.
func TestEmptyChunksAreWork(t *testing.T) {
	r, client := newRegistry(t)
	ttl := 700 * time.Hour // a slice of its index is longer than all of the steps
	lower := func() {
		ttl -= time.Second
		apply(t, r, users, Policy{DefaultTTL: &ttl})
	}
	lower()
	fill(t, r, entry("list", "a", ""), "x")
	for range 2 * reclaimedAtOnce {
		lower()
	}
	before := commandsRun(t, client)
	lower()
	if took := commandsRun(t, client) - before; took > 2*reclaimedAtOnce {
		t.Errorf("a policy took %d commands for one entry", took)
	}
}

// The slowest calls of the large work, by the clock of Redis. SLOWLOG would say the same of each
// call. But a log of millions of commands takes time and memory itself, so only slow calls are
// looked up there.
func BenchmarkSlowestCall(b *testing.B) {
	for _, count := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			server := redistest.Start(b, "--slowlog-log-slower-than", "2000", "--latency-tracking-info-percentiles", "50 99 100")
			client := redis.NewClient(&redis.Options{Addr: server.Addr(), ReadTimeout: time.Minute})
			defer client.Close()
			r := New(client)
			if _, err := r.Install(b.Context()); err != nil {
				b.Fatal(err)
			}
			apply(b, r, users, Policy{DefaultTTL: new(time.Hour)})
			fillCount(b, r, "list", "", count, "sixteen bytes: x")
			b.ResetTimer()
			for _, work := range largeWork {
				if err := errors.Join(client.ConfigResetStat(b.Context()).Err(), client.SlowLogReset(b.Context()).Err()); err != nil {
					b.Fatal(err)
				}
				calls := 0
				for again := true; again; calls++ {
					again = work.call(b, r)
				}
				b.Logf("%s: %d calls, microseconds: %s", work.name, calls, callMicros(b, client))
				logSlowCalls(b, client)
			}
		})
	}
}

// callMicros returns the percentiles of the times of the functions' calls.
func callMicros(b *testing.B, client *redis.Client) string {
	b.Helper()
	stats, err := client.Info(b.Context(), "latencystats").Result()
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(stats, "latency_percentiles_usec_fcall:")
	micros, _, _ := strings.Cut(rest, "\r\n")
	return micros
}

func logSlowCalls(b *testing.B, client *redis.Client) {
	b.Helper()
	log, err := client.SlowLogGet(b.Context(), -1).Result()
	if err != nil {
		b.Fatal(err)
	}
	for _, call := range log {
		b.Logf("slow: %s for %s", call.Duration, call.Args[0])
	}
}
