// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package node_test

import (
	"bufio"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// counts are what one process of the chaos test did so far.
type counts struct{ Reads, Hits, Stale, Loads, Invalidations, Queued, Puts, Violations, Failed int }

func (c *counts) add(more counts) {
	c.Reads, c.Hits, c.Stale, c.Loads = c.Reads+more.Reads, c.Hits+more.Hits, c.Stale+more.Stale, c.Loads+more.Loads
	c.Invalidations, c.Queued, c.Puts = c.Invalidations+more.Invalidations, c.Queued+more.Queued, c.Puts+more.Puts
	c.Violations, c.Failed = c.Violations+more.Violations, c.Failed+more.Failed
}

// chaos is a source that several processes of Node read through one Redis, and change.
type chaos struct {
	mu        sync.Mutex
	byProcess [4]counts
	ended     sync.WaitGroup
	inputs    []io.Closer
}

// startChaos starts the processes, half of them over each client of Redis.
func startChaos(t *testing.T, addrs []string, environment ...string) *chaos {
	t.Helper()
	prepareNode(t)
	c, dir := &chaos{}, t.TempDir()
	for _, name := range []string{"source", "invalidated"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	urls := "redis://" + strings.Join(addrs, ",redis://")
	for i := range c.byProcess {
		node := exec.Command("node", "test/support/chaos.mjs")
		node.Env = append(os.Environ(), "REDIS_URL="+urls, "CLIENT="+libraries[i%2], "RESP="+strconv.Itoa(2+i/3),
			"DIR="+dir, "PROCESS="+strconv.Itoa(i))
		node.Env, node.Stderr = append(node.Env, environment...), os.Stderr
		input, err := node.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		output, err := node.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := node.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = node.Process.Kill() })
		c.inputs = append(c.inputs, input)
		c.ended.Go(func() {
			c.follow(i, output)
			if err := node.Wait(); err != nil {
				t.Errorf("process %d: %v", i, err)
			}
		})
	}
	return c
}

func (c *chaos) follow(process int, output io.Reader) {
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		var said counts
		if json.Unmarshal(lines.Bytes(), &said) == nil {
			c.mu.Lock()
			c.byProcess[process] = said
			c.mu.Unlock()
		}
	}
}

func (c *chaos) total() (sum counts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, counts := range c.byProcess {
		sum.add(counts)
	}
	return sum
}

// disturb does so until there is enough, or time is up, and returns what the processes did.
func (c *chaos) disturb(t *testing.T, enough func(counts) bool, disturb func()) counts {
	t.Helper()
	end := time.Now().Add(30 * time.Minute)
	if deadline, limited := t.Deadline(); limited {
		end = deadline.Add(-time.Minute)
	}
	for last := 0; !enough(c.total()) && time.Now().Before(end); {
		time.Sleep(rand.N(400 * time.Millisecond))
		if hits := c.total().Hits; hits > last+200 { // unless the processes starve
			disturb()
			last = hits
		}
	}
	for _, input := range c.inputs {
		_ = input.Close()
	}
	c.ended.Wait()
	sum := c.total()
	t.Logf("%+v", sum)
	return sum
}

// operate does the operator's part until the test ends: it restores the library and the policy.
func operate(t *testing.T, client redis.UniversalClient) {
	store, done := registry.New(client), make(chan struct{})
	policy := registry.Policy{DefaultTTL: new(time.Minute), Operations: []registry.OperationPolicy{
		{Name: "op1", TTL: 200 * time.Millisecond, StaleFor: 10 * time.Second, JitterPercent: 50},
	}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			_, _ = store.Install(t.Context())
			if hashes, err := store.PolicyHashes(t.Context(), []registry.Slot{users}); err == nil && hashes[0] == "" {
				_, _ = store.ApplyPolicy(t.Context(), users, policy)
			}
			_, _ = store.Reclaim(t.Context(), users, 200)
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	t.Cleanup(func() { close(done); running.Wait() })
}

// readsOf returns how many reads are checked at least.
func readsOf(t *testing.T, short int) int {
	t.Helper()
	text := os.Getenv("CHAOS_NODE_READS")
	if text == "" {
		return short
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("CHAOS_NODE_READS must be a number of at least 1, not %q", text)
	}
	return n
}

func check(t *testing.T, wanted int, did counts) {
	t.Helper()
	if did.Violations > 0 || did.Failed > 0 {
		t.Errorf("%d reads returned what was invalidated before they began, and %d calls failed", did.Violations, did.Failed)
	}
	if did.Reads < wanted || did.Hits < wanted/5 || did.Invalidations == 0 {
		t.Error("too little was read from the cache: the test proves nothing")
	}
}

func enoughOf(wanted int) func(counts) bool {
	return func(did counts) bool { return did.Reads >= wanted && did.Hits >= wanted/5 }
}

// Redis is restarted from old snapshots, killed, frozen and emptied, and loses its library and its
// connections. Still no read returns what was invalidated before it began.
func TestChaosNoReadOfNodeReturnsWhatWasInvalidatedBefore(t *testing.T) {
	t.Parallel()
	server, wanted := redistest.Start(t), readsOf(t, 8_000)
	operate(t, server.Client())
	c := startChaos(t, []string{server.Addr()})
	check(t, wanted, c.disturb(t, enoughOf(wanted), func() { disturb(t, server) }))
}

func disturb(t *testing.T, server *redistest.Server) {
	client := server.Client()
	switch rand.IntN(10) {
	case 0, 1, 2:
		server.Save()
	case 3, 4, 5:
		server.Restart()
	case 6:
		server.Pause()
		time.Sleep(rand.N(1500 * time.Millisecond))
		server.Resume()
	case 7:
		_ = client.FunctionFlush(t.Context()).Err()
	case 8:
		_ = client.FlushAll(t.Context()).Err()
	default:
		_ = client.Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal").Err()
	}
}

// The same holds on a cluster whose nodes go back in time.
func TestChaosNoReadOfNodeOnAClusterReturnsWhatWasInvalidatedBefore(t *testing.T) {
	t.Parallel()
	cluster, wanted := redistest.StartCluster(t, 3), readsOf(t, 30_000)/10
	operate(t, cluster.Client())
	c := startChaos(t, cluster.Addrs())
	check(t, wanted, c.disturb(t, enoughOf(wanted), func() {
		owner := cluster.Owner("cw:{shop/users}")
		switch rand.IntN(5) {
		case 0, 1:
			owner.Save()
		case 2:
			owner.Restart()
			cluster.WaitReady()
		case 3:
			owner.Pause()
			time.Sleep(rand.N(time.Second))
			owner.Resume()
		default:
			_ = owner.Client().Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal").Err()
		}
	}))
}

// The check finds violations when processes take all that comes back for fenced, so it can fail.
func TestChaosTheCheckFindsViolationsWithoutTheFence(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	operate(t, server.Client())
	c := startChaos(t, []string{server.Addr()}, "UNFENCED=1")
	end := time.Now().Add(time.Minute)
	found := func(did counts) bool { return did.Violations > 0 || time.Now().After(end) }
	if did := c.disturb(t, found, func() { server.Save(); time.Sleep(200 * time.Millisecond); server.Restart() }); did.Violations == 0 {
		t.Error("nobody looked whether Redis went back in time, but the check found nothing")
	}
}
