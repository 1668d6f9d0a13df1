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

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
)

// reclaimedAtOnce is what a call of the operator and of clients asks for.
const reclaimedAtOnce = 200

// fillCount fills so many entries of an operation.
func fillCount(tb testing.TB, r *Registry, operation string, count int, payload string) {
	tb.Helper()
	token := lease(tb, r, entry(operation, "token", "")).Token
	const workers = 32
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for i := worker; i < count; i += workers {
				filled, err := r.Set(tb.Context(), entry(operation, strconv.Itoa(i), ""), []byte(payload), token)
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

// largeWork is what may concern any number of entries. Each returns whether it is to be called again.
var largeWork = []struct {
	name string
	call func(testing.TB, *Registry) (again bool)
}{
	{"a soft invalidation", func(tb testing.TB, r *Registry) bool {
		tb.Helper()
		if _, err := r.Invalidate(tb.Context(), users, Scope{Operation: "list"}, ModeSoft, ""); err != nil {
			tb.Fatal(err)
		}
		return false
	}},
	{"a policy with a lowered TTL", func(tb testing.TB, r *Registry) bool {
		tb.Helper()
		apply(tb, r, users, Policy{DefaultTTL: new(time.Minute)})
		return false
	}},
	{"a sweep of lowered TTLs", reclaimOnce},
	{"an invalidation of an operation", func(tb testing.TB, r *Registry) bool {
		tb.Helper()
		invalidate(tb, r, users, Scope{Operation: "list"})
		return false
	}},
	{"reclaim", reclaimOnce},
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

// mostCommands does the large work on so many entries and returns the most commands that one call of each took.
func mostCommands(t *testing.T, count int) map[string]int {
	t.Helper()
	r, client := newRegistry(t)
	apply(t, r, users, Policy{DefaultTTL: new(time.Hour)})
	fillCount(t, r, "list", count, "x")
	most := map[string]int{}
	for _, work := range largeWork {
		for again := true; again; {
			before := commandsRun(t, client)
			again = work.call(t, r)
			most[work.name] = max(most[work.name], commandsRun(t, client)-before)
		}
	}
	if left := keyCount(t, client, users, ":e:"); left > 0 {
		t.Errorf("%d of %d entries were not reclaimed", left, count)
	}
	return most
}

// No call does more than its share, however many entries there are, so none holds up other clients for long.
func TestWorkOfACallIsBounded(t *testing.T) {
	const (
		entries = 20_000 // many times what a call takes on
		// bound is for each entry that a call takes on: to look at it, to shorten it and to list it anew.
		bound = 6 * reclaimedAtOnce
	)
	most := mostCommands(t, entries)
	for _, work := range largeWork {
		t.Logf("%s: at most %d commands in a call", work.name, most[work.name])
		if most[work.name] > bound {
			t.Errorf("%s takes %d commands in a call, want %d at most", work.name, most[work.name], bound)
		}
	}
}

// The slowest calls of the large work, by Redis' own clock. SLOWLOG would say the same of each call; but a log of
// millions of commands is work and memory itself, so only what takes long is looked up there.
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
			fillCount(b, r, "list", count, "sixteen bytes: x")
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
