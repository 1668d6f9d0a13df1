// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package garbage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	mostArgument   = 64 << 10
	mostPayload    = 1 << 20
	usualPolicy    = 128 // operations
	largestPolicy  = 256
	mostOfMachine  = 16 << 20 // bytes of the Lua VM
	slowCall       = 10 * time.Millisecond
	slowPolicy     = 50 * time.Millisecond
	slowRead       = 20 * time.Millisecond
	timeToComeDown = time.Minute
)

// howLong is how long the tenant writes. It also says whether the machine is otherwise idle, so
// that times can be checked: in "make chaos".
func howLong(t *testing.T) (duration time.Duration, quiet bool) {
	t.Helper()
	text := os.Getenv("GARBAGE_SECONDS")
	if text == "" {
		return 3 * time.Second, false
	}
	seconds, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("GARBAGE_SECONDS must be a number: %v", err)
	}
	return time.Duration(seconds) * time.Second, true
}

// policyOf is a policy of so many operations, another each time.
func policyOf(operations int) string {
	list := make([]string, operations)
	for i := range list {
		list[i] = fmt.Sprintf(`{"name":"list%d","ttlMs":%d,"staleForMs":%d}`, i, 60_000+rand.IntN(600_000), rand.IntN(600_000))
	}
	return fmt.Sprintf(`{"defaultTtlMs":600000,"operations":[{"name":"list","ttlMs":3600000},%s]}`, strings.Join(list[1:], ","))
}

// largeCalls are calls with arguments as large as they come.
func (t *trial) largeCalls() [][]any {
	large, payload := strings.Repeat("x", rand.IntN(mostArgument)), strings.Repeat("x", rand.IntN(mostPayload))
	calls := [][]any{
		{"cw_get", large, "a", ""},
		{"cw_get", "list", large, ""},
		{"cw_get", "list", "a", large},
		{"cw_get", "list", "a", "", large},
		{"cw_set", "list", "a", "", payload, large},
		{"cw_set", "list", "a", "", payload, large, "room"},
		{"cw_set", "list", large, large, payload, "1x"},
		{"cw_delete", "list", large, ""},
		{"cw_unlock", large, large, large},
		{"cw_invalidate", large, large, large, large},
		{"cw_reclaim", large},
		{"cw_policy_apply", large},
		{"cw_policy_apply", `{"revision":"` + large + `"}`},
		{"cw_policy_own", large},
		{"cw_report", "list", large, large},
		{"cw_unclaimed", large, large, large, large},
		{"cw_policy_apply", policyOf(usualPolicy)},
	}
	reply, err := t.by(t.tenant, "cw_get", "list", strconv.Itoa(rand.IntN(100)), "u")
	if fields, _ := reply.([]any); err == nil && len(fields) > 1 && fields[0] == int64(0) {
		calls = append(calls, []any{"cw_set", "list", "large", "u", payload, fields[1]})
	}
	return calls
}

// rage has the tenant write and call whatever it can. An error is a promise that was broken.
func (t *trial) rage(until time.Time) error {
	for seed := rand.IntN(1 << 30); time.Now().Before(until); seed++ {
		known, err := t.furnish()
		if err != nil {
			return err
		}
		for range 3 {
			if err := t.run(t, scripts().Example(seed), known); err != nil {
				return err
			}
			if err := t.everyCall(); err != nil {
				return err
			}
			seed++
		}
		for _, call := range t.largeCalls() {
			if _, err := t.by(t.tenant, fmt.Sprint(call[0]), call[1:]...); err != nil {
				return err
			}
		}
		if t.slot, err = t.begin(t); err != nil { // what a tenant keeps is its share of maxmemory, and no subject here
			return err
		}
	}
	_, err := t.by(t.tenant, "cw_policy_apply", policyOf(largestPolicy))
	return err
}

// reader is a neighbour, who reads all the time.
type reader struct {
	reads   atomic.Int64
	slowest atomic.Int64 // nanoseconds
}

func (r *reader) read(ctx context.Context, client *redis.Client) {
	for ctx.Err() == nil {
		began := time.Now()
		if client.MGet(ctx, "cw:{team/m}:e:4:list:0::a", "cw:{team/m}:m", "cw:{team/m}:o:list").Err() == nil {
			r.reads.Add(1)
			r.slowest.Store(max(r.slowest.Load(), int64(time.Since(began))))
		}
		time.Sleep(time.Millisecond)
	}
}

// A tenant that writes garbage into its keys and calls everything with arguments of any size delays
// nobody, and takes no memory beside maxmemory.
func TestATenantHoldsUpNobody(t *testing.T) {
	duration, quiet := howLong(t)
	w := newWorld(t, library(t))
	for setting, value := range map[string]string{"slowlog-log-slower-than": "1000", "slowlog-max-len": "100000"} {
		if err := w.admin.ConfigSet(t.Context(), setting, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	slot, err := w.begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	neighbour, done := &reader{}, make(chan struct{})
	reading, stop := context.WithCancel(t.Context())
	go func() {
		defer close(done)
		neighbour.read(reading, w.operator)
	}()
	err = (&trial{w, t.Context(), slot}).rage(time.Now().Add(duration))
	stop()
	<-done
	if err != nil {
		t.Fatal(err)
	}
	calls, policies := slowestCalls(t, w)
	t.Logf("by Redis' clock the slowest call took %s, the slowest policy %s; of the processor %s: %s", calls, policies, w.slowest, w.what)
	t.Logf("a neighbour's slowest of %d reads took %s", neighbour.reads.Load(), time.Duration(neighbour.slowest.Load()))
	if quiet && (calls > slowCall || policies > slowPolicy || time.Duration(neighbour.slowest.Load()) > slowRead) {
		t.Errorf("others waited for longer than %s, %s for a policy of %d operations, or %s for a read", slowCall, slowPolicy, largestPolicy, slowRead)
	}
	wantLittleMemory(t, w)
}

// slowestCalls asks Redis what its slowest calls of functions took, and its slowest changes of a
// policy.
func slowestCalls(t *testing.T, w *world) (calls, policies time.Duration) {
	t.Helper()
	logged, err := w.admin.SlowLogGet(t.Context(), -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range logged {
		switch {
		case len(entry.Args) < 2 || !strings.EqualFold(entry.Args[0], "FCALL"):
		case entry.Args[1] == "cw_policy_apply":
			policies = max(policies, entry.Duration)
		default:
			calls = max(calls, entry.Duration)
		}
	}
	return calls, policies
}

// wantLittleMemory: what calls left in the Lua VM goes within a minute of calls that others make.
func wantLittleMemory(t *testing.T, w *world) {
	t.Helper()
	var bytes int
	for end := time.Now().Add(timeToComeDown); ; time.Sleep(10 * time.Millisecond) {
		var err error
		if bytes, err = w.machine(t.Context()); err != nil {
			t.Fatal(err)
		}
		if bytes <= mostOfMachine || time.Now().After(end) {
			break
		}
		if err := w.admin.Do(t.Context(), "FCALL", "cw_stats", 1, "cw:{team/m}").Err(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d KiB of the Lua VM are in use", bytes/1024)
	if bytes > mostOfMachine {
		t.Errorf("more than %d KiB", mostOfMachine/1024)
	}
}
