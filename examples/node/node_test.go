// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package node_test tests the Node example with package registry: both must see the same entries.
package node_test

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/onsi/gomega"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// libraries are the clients of Redis that the example works over.
var libraries = []string{"ioredis", "node-redis"}

var users = registry.Slot{Namespace: "shop", Module: "users"}

func TestNodeAndGoShareEntries(t *testing.T) {
	t.Parallel()
	for _, library := range libraries {
		t.Run(library, func(t *testing.T) {
			w := newWorld(t, "CLIENT="+library)
			for name, story := range map[string]func(*testing.T, *world){
				"Go fills, Node hits":                    goFillsNodeHits,
				"Node fills, Go hits":                    nodeFillsGoHits,
				"Go invalidates, Node misses":            goInvalidatesNodeMisses,
				"Node invalidates, Go misses":            nodeInvalidatesGoMisses,
				"Go fences a load of Node":               goFencesALoadOfNode,
				"Node fences a load of Go":               nodeFencesALoadOfGo,
				"Go holds, Node stores nothing":          goHoldsNodeStoresNothing,
				"Node holds, Go stores nothing":          nodeHoldsGoStoresNothing,
				"what the source has not":                negativeEntriesAreShared,
				"stale entries":                          staleEntriesAreServedAndRefreshed,
				"what the policy does not cache":         theKillSwitchHolds,
				"limits of the policy":                   theLimitsHold,
				"the statistics have the hits of Node":   hitsOfNodeAreCounted,
				"paths that are no entry and no request": otherRequestsAreRefused,
			} {
				t.Run(name, func(t *testing.T) {
					w.reset(t)
					story(t, w)
				})
			}
			t.Run("without Redis", func(t *testing.T) {
				w.reset(t)
				w.server.Kill()
				w.wantFrom(t, "unavailable", entry("list", "a", ""))
				if status := w.request(t, http.MethodDelete, "/users/list", "").status; status != http.StatusAccepted {
					t.Errorf("an invalidation that is queued was answered %d", status)
				}
				w.wantFrom(t, "queued", entry("list", "a", ""))
				w.wantFrom(t, "unavailable", entry("other", "a", ""))
			})
		})
	}
}

// Programs of two versions neither read nor spare each other's entries, and delete them.
func TestNodeAndGoShareEntriesOfASchema(t *testing.T) {
	t.Parallel()
	for _, library := range libraries {
		t.Run(library, func(t *testing.T) {
			w := newWorld(t, "CLIENT="+library, "SCHEMA=v2")
			for _, key := range keys() {
				w.reset(t)
				ours := key
				ours.Schema = "v2"
				for _, schema := range []string{"v1", "", "v22"} {
					key.Schema = schema
					w.fill(t, key, []byte("of another version"))
					w.source.set(binary(key))
					w.wantFrom(t, "stored", key)
					if found := w.wantHit(t, ours); !bytes.Equal(found.Payload, binary(key)) {
						t.Errorf("%q: Node stored %q, Go found %q", key, binary(key), found.Payload)
					}
					if w.isHit(t, key) {
						t.Errorf("%q: a hit of what Node stored, of another version", key)
					}
					w.wantFrom(t, "cache", key)
				}
				w.request(t, http.MethodDelete, pathOf(key), key.User)
				w.source.set(nil)
				w.wantFrom(t, "stored", key)
				if found := w.wantHit(t, ours); !found.Negative || w.isHit(t, key) {
					t.Errorf("%q: Node stored that there is nothing, Go found %+v", key, found)
				}
			}
		})
	}
}

// keys are a shared entry, a user's, and two of bytes that are no text and have a meaning in a path
// or in Redis.
func keys() []registry.Key {
	var all []byte
	for b := range 256 {
		all = append(all, byte(b))
	}
	return []registry.Key{
		entry("list", "page=1", ""),
		entry("list", "", ""),
		entry("list", "page=1", "user-123"),
		entry("list", string(all), ""),
		entry("list", "a/b?c:d{e}%20", "\xff\xfe:{u}"),
	}
}

func goFillsNodeHits(t *testing.T, w *world) {
	for _, key := range keys() {
		w.fill(t, key, binary(key))
		if got := w.wantFrom(t, "cache", key); !bytes.Equal(got, binary(key)) {
			t.Errorf("%q: Go stored %q, Node found %q", key, binary(key), got)
		}
	}
	if loads := w.source.loads(); loads != 0 {
		t.Errorf("the source was asked %d times for what Go had stored", loads)
	}
}

func nodeFillsGoHits(t *testing.T, w *world) {
	for _, key := range keys() {
		w.source.set(binary(key))
		w.wantFrom(t, "stored", key)
		found := w.wantHit(t, key)
		if !bytes.Equal(found.Payload, binary(key)) {
			t.Errorf("%q: Node stored %q, Go found %q", key, binary(key), found.Payload)
		}
		w.source.set([]byte("changed"))
		w.wantFrom(t, "cache", key)
	}
}

func goInvalidatesNodeMisses(t *testing.T, w *world) {
	key := entry("list", "a", "u")
	for name, scope := range map[string]registry.Scope{
		"module": {}, "operation": {Operation: "list"}, "user": {User: "u"}, "both": {Operation: "list", User: "u"},
	} {
		w.fill(t, key, []byte("old"))
		w.wantFrom(t, "cache", key)
		w.invalidate(t, scope, registry.ModeHard)
		if got := w.wantFrom(t, "stored", key); string(got) != "from the source" {
			t.Errorf("%s: Node served %q", name, got)
		}
		w.invalidate(t, registry.Scope{}, registry.ModeHard)
	}
	w.fill(t, key, []byte("old"))
	if deleted, err := w.registry.Delete(t.Context(), key); err != nil || !deleted {
		t.Fatalf("deleting: %v, %v", deleted, err)
	}
	w.wantFrom(t, "stored", key)
}

func nodeInvalidatesGoMisses(t *testing.T, w *world) {
	key, other := entry("list", "a", "u"), entry("other", "a", "v")
	for _, test := range []struct {
		path, user string
		otherStays bool
	}{
		{"/users", "", false},
		{"/users/list", "", true},
		{"/users", "u", true},
		{"/users/list", "u", true},
		{"/users/list/a", "u", true},
	} {
		w.fill(t, key, []byte("payload"))
		w.fill(t, other, []byte("payload"))
		if status := w.request(t, http.MethodDelete, test.path, test.user).status; status != http.StatusNoContent {
			t.Fatalf("DELETE %s answered %d", test.path, status)
		}
		if w.isHit(t, key) || w.isHit(t, other) != test.otherStays {
			t.Errorf("after DELETE %s of user %q: hits %v and %v, want false and %v",
				test.path, test.user, w.isHit(t, key), w.isHit(t, other), test.otherStays)
		}
	}
}

func goFencesALoadOfNode(t *testing.T, w *world) {
	key := entry("list", "a", "u")
	for name, scope := range map[string]registry.Scope{
		"module": {}, "operation": {Operation: "list"}, "user": {User: "u"}, "both": {Operation: "list", User: "u"},
	} {
		finish := w.beginLoad(t, key)
		w.invalidate(t, scope, registry.ModeHard)
		if got := finish(); got.from != "fenced" || string(got.body) != "from the source" {
			t.Errorf("%s: a load begun before was %s, and its caller got %q", name, got.from, got.body)
		}
		if w.isHit(t, key) {
			t.Errorf("%s: what was loaded before is in the cache", name)
		}
	}
}

func nodeFencesALoadOfGo(t *testing.T, w *world) {
	key := entry("list", "a", "u")
	for _, request := range []struct{ path, user string }{
		{"/users", ""},
		{"/users/list", ""},
		{"/users", "u"},
		{"/users/list", "u"},
		{"/users/list/a", "u"},
	} {
		token := w.lease(t, key)
		w.request(t, http.MethodDelete, request.path, request.user)
		if outcome := w.set(t, key, []byte("old"), token); outcome != registry.Fenced {
			t.Errorf("DELETE %s of user %q: a load begun before was %s", request.path, request.user, outcome)
		}
	}
}

func goHoldsNodeStoresNothing(t *testing.T, w *world) {
	key := entry("list", "a", "u")
	for name, target := range map[string]registry.HoldTarget{
		"module":    registry.HoldScope(registry.Scope{}),
		"operation": registry.HoldScope(registry.Scope{Operation: "list"}),
		"user":      registry.HoldScope(registry.Scope{User: "u"}),
		"entry":     registry.HoldEntry(key),
	} {
		w.reset(t)
		w.fill(t, key, []byte("old"))
		hold := registry.NewHoldID()
		if _, err := w.registry.Hold(t.Context(), users, hold, time.Minute, target); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got := w.wantFrom(t, "held", key); string(got) != "from the source" {
				t.Errorf("%s: Node served %q", name, got)
			}
		}
		if name == "entry" {
			w.wantFrom(t, "stored", entry("list", "another", "u"))
		}
		if _, err := w.registry.Release(t.Context(), users, hold, target); err != nil {
			t.Fatal(err)
		}
		w.wantFrom(t, "stored", key)
	}
}

// holding is a Node program that holds an operation until it reads a line.
const holding = `
	import Redis from 'ioredis';
	import { Cachewright } from './cachewright.mjs';
	const redis = new Redis(process.env.REDIS_URL);
	const hold = await new Cachewright(redis, 'shop').hold('users', 60_000, { operation: 'list' });
	console.log(hold.error ?? 'held');
	process.stdin.once('data', async () => {
		await hold.release();
		process.exit(hold.error ? 1 : 0);
	});`

func nodeHoldsGoStoresNothing(t *testing.T, w *world) {
	w.fill(t, entry("list", "a", ""), []byte("old"))
	loading := w.lease(t, entry("list", "b", ""))
	node := exec.CommandContext(t.Context(), "node", "--input-type=module", "--eval", holding)
	node.Env, node.Stderr = append(os.Environ(), "REDIS_URL=redis://"+w.server.Addr()), os.Stderr
	input, inErr := node.StdinPipe()
	output, outErr := node.StdoutPipe()
	if err := errors.Join(inErr, outErr, node.Start()); err != nil {
		t.Fatal(err)
	}
	if said, err := bufio.NewReader(output).ReadString('\n'); said != "held\n" {
		t.Fatalf("Node said %q (%v)", said, err)
	}
	for _, id := range []string{"a", "b"} {
		lookup, err := w.registry.Lease(t.Context(), entry("list", id, ""))
		if err != nil || lookup.Held <= 0 || lookup.Cacheable {
			t.Errorf("what Node holds is leased: %+v (%v)", lookup, err)
		}
	}
	if outcome := w.set(t, entry("list", "b", ""), []byte("old"), loading); outcome != registry.Fenced {
		t.Errorf("a load from before the hold was %s", outcome)
	}
	if _, err := input.Write([]byte("\n")); err != nil {
		t.Error(err)
	}
	if err := node.Wait(); err != nil {
		t.Errorf("the release: %v", err)
	}
	w.fill(t, entry("list", "a", ""), []byte("new"))
}

func negativeEntriesAreShared(t *testing.T, w *world) {
	key := entry("list", "nobody", "")
	w.source.set(nil)
	w.wantFrom(t, "stored", key)
	if found := w.wantHit(t, key); !found.Negative {
		t.Error("Node stored that the source has nothing, and Go does not see that")
	}
	w.source.set([]byte("somebody"))
	got := w.get(t, key)
	if got.status != http.StatusNotFound || got.from != "cache" {
		t.Errorf("answered %d from %s, want 404 from the cache", got.status, got.from)
	}
}

func staleEntriesAreServedAndRefreshed(t *testing.T, w *world) {
	key := entry("list", "a", "")
	w.fill(t, key, []byte("old"))
	w.invalidate(t, registry.Scope{Operation: "list"}, registry.ModeSoft)
	w.source.fail()
	if got := w.wantFrom(t, "stale", key); string(got) != "old" {
		t.Errorf("with the source failing Node served %q", got)
	}
	gomega.NewWithT(t).Eventually(w.source.loads).WithTimeout(20 * time.Second).Should(gomega.Equal(1))

	w.source.set([]byte("new"))
	other := entry("list", "b", "")
	w.fill(t, other, []byte("old"))
	w.invalidate(t, registry.Scope{Operation: "list"}, registry.ModeSoft)
	loading, goOn := w.source.hold()
	for range 3 { // one refreshes, and nobody waits for it
		w.wantFrom(t, "stale", other)
	}
	<-loading
	w.wantFrom(t, "stale", other)
	goOn()
	gomega.NewWithT(t).Eventually(func() string {
		got := w.get(t, other)
		return got.from + " " + string(got.body)
	}).WithTimeout(20 * time.Second).Should(gomega.Equal("cache new"))
	gomega.NewWithT(t).Eventually(func() string { return w.get(t, key).from }).
		WithTimeout(20 * time.Second).Should(gomega.Equal("cache"))
}

func theKillSwitchHolds(t *testing.T, w *world) {
	w.apply(t, registry.Policy{})
	w.wantFrom(t, "disabled", entry("list", "a", ""))
}

func theLimitsHold(t *testing.T, w *world) {
	w.apply(t, registry.Policy{Operations: []registry.OperationPolicy{{Name: "list", TTL: time.Minute, MaxEntryBytes: 3}}})
	w.wantFrom(t, "refused", entry("list", "a", ""))
	w.source.fail()
	if status := w.get(t, entry("list", "a", "")).status; status != http.StatusBadGateway {
		t.Errorf("a failing source with nothing in the cache was answered %d", status)
	}
}

func hitsOfNodeAreCounted(t *testing.T, w *world) {
	const operation = "counted" // no other test uses it: hits by MGET are reported a second later
	key := entry(operation, "a", "")
	w.fill(t, key, []byte("payload"))
	for range 3 {
		w.wantFrom(t, "cache", key)
	}
	gomega.NewWithT(t).Eventually(func() (int64, error) {
		stats, err := w.registry.Stats(t.Context(), users)
		return stats.Operations[operation].Hits, err
	}).WithTimeout(20 * time.Second).Should(gomega.Equal(int64(3)))
}

func otherRequestsAreRefused(t *testing.T, w *world) {
	for _, request := range []struct{ method, path string }{
		{http.MethodGet, "/users"}, {http.MethodGet, "/"}, {http.MethodDelete, "/"}, {http.MethodPut, "/users/list/a"},
	} {
		if status := w.request(t, request.method, request.path, "").status; status != http.StatusMethodNotAllowed {
			t.Errorf("%s %s was answered %d", request.method, request.path, status)
		}
	}
}

func TestNodePassesTheConformanceVectors(t *testing.T) { passesInNode(t, "test/vectors.mjs") }

func TestNodeRefusesParamsThatNameNoEntry(t *testing.T) { passesInNode(t, "test/ids.mjs") }

func TestNodeKeepsHitsThatItCouldNotReport(t *testing.T) { passesInNode(t, "test/hits.mjs") }

func TestNodeFencesModulesBeforeItReads(t *testing.T) { passesInNode(t, "test/fence.mjs") }

func TestNodeLosesLittleTimeToAFailingRedis(t *testing.T) { passesInNode(t, "test/gateway.mjs") }

func TestNodeQueuesWhatDoesNotReachRedis(t *testing.T) { passesInNode(t, "test/queue.mjs") }

func TestNodeHoldsAndSharesLoads(t *testing.T) {
	prepareNode(t)
	for _, library := range libraries {
		for _, tests := range []string{"test/held.mjs", "test/loads.mjs"} {
			t.Run(library+", "+tests, func(t *testing.T) {
				t.Parallel()
				server := redistest.Start(t)
				for module, lag := range map[string]time.Duration{"users": 0, "lagging": time.Second} {
					slot := registry.Slot{Namespace: users.Namespace, Module: module}
					policy := registry.Policy{DefaultTTL: new(time.Minute), SourceLag: lag}
					if _, err := registry.New(server.Client()).ApplyPolicy(t.Context(), slot, policy); err != nil {
						t.Fatal(err)
					}
				}
				passesInNode(t, tests, "REDIS_URL=redis://"+server.Addr(), "CLIENT="+library)
			})
		}
	}
}

// The program reports automatically, as one that is written after it would.
func TestTheProgramReportsNamesThatNoPolicyLists(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UNCLAIMED_MS=50")
	if err := w.registry.AddModules(t.Context(), users.Namespace, users.Module); err != nil {
		t.Fatal(err)
	}
	w.wantFrom(t, "disabled", registry.Key{Slot: registry.Slot{Namespace: users.Namespace, Module: "user"}, Operation: "list"})
	gomega.NewWithT(t).Eventually(func() ([]registry.Unclaimed, error) {
		return w.registry.Unclaimed(t.Context(), users.Namespace)
	}).WithTimeout(20 * time.Second).Should(gomega.ContainElement(gomega.HaveField("Module", "user")))
}

func TestNodeReportsNamesThatNoPolicyLists(t *testing.T) {
	prepareNode(t)
	server := redistest.Start(t)
	store := registry.New(server.Client())
	for module, policy := range map[string]registry.Policy{
		users.Module: {Operations: []registry.OperationPolicy{{Name: "list", TTL: time.Minute}}},
		"all":        {DefaultTTL: new(time.Minute)},
	} {
		slot := registry.Slot{Namespace: users.Namespace, Module: module}
		if _, err := store.ApplyPolicy(t.Context(), slot, policy); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.AddModules(t.Context(), users.Namespace, users.Module, "all", "lost"); err != nil {
		t.Fatal(err)
	}
	passesInNode(t, "test/names.mjs", "REDIS_URL=redis://"+server.Addr())
}

func passesInNode(t *testing.T, tests string, environment ...string) {
	t.Helper()
	prepareNode(t)
	node := exec.CommandContext(t.Context(), "node", "--test", tests)
	node.Env = append(os.Environ(), environment...)
	if output, err := node.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}
