// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package model compares the function library with a model of docs/protocol.md, which shares no
// code with it. Whatever is called, evicted, reloaded or failed over, each answer is one that the
// protocol allows.
package model

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// start returns clients of two servers.
func start(t *testing.T) (servers [2]*redis.Client) {
	t.Helper()
	for i := range servers {
		servers[i] = redistest.Start(t).Client()
	}
	return servers
}

func load(t *testing.T, servers [2]*redis.Client, library string) {
	t.Helper()
	for _, server := range servers {
		if err := server.FunctionLoadReplace(t.Context(), library).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMain makes each property try 50 sequences, unless -rapid.checks says otherwise.
func TestMain(m *testing.M) {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "rapid.checks" })
	if !chosen {
		_ = flag.Set("rapid.checks", "50") // such a flag exists, and takes any number
	}
	os.Exit(m.Run())
}

// Some thousand sequences: each of these tests runs as many as -rapid.checks says.
func TestEachAnswerIsOneThatTheProtocolAllows(t *testing.T) {
	servers := start(t)
	load(t, servers, registry.Library)
	for i := range 40 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(rt *rapid.T) {
				sequence := sequences().Draw(rt, "sequence")
				if i%2 == 0 {
					sequence = ofPuts(sequence)
				}
				switch i / 2 % 4 {
				case 0:
					sequence = ofVersions(sequence)
				case 1:
					sequence = ofLaggingSources(sequence)
				case 2:
					sequence = ofHeads(sequence)
				}
				if err := runSequence(t.Context(), servers, registry.Library, sequence); err != nil {
					rt.Log(err)
					rt.Fatal("the protocol does not allow that") // the same words, so that shorter sequences count as the same failure
				}
			})
		})
	}
}

// A sequence that hardly comes about by chance: where nobody knows the policy before, negative
// entries do not outlive the new one either.
func TestNegativeEntriesObeyThePolicyThatFollowsAnEvictedOne(t *testing.T) {
	servers := start(t)
	load(t, servers, registry.Library)
	listed := policy{Default: 60_000, Operations: map[string]rule{"list": {TTL: 60_000, Negative: 10_000}}}
	for _, other := range []rule{{TTL: 60_000}, {TTL: 60_000, Negative: 2_000}} {
		err := runSequence(t.Context(), servers, registry.Library, []step{
			{Do: "apply", Policy: listed},
			{Do: "fill", Key: key{op: "list", id: "a"}, Option: "negative"},
			{Do: "evict", Victim: "policy"},
			{Do: "apply", Policy: policy{Operations: map[string]rule{"list": other}}, Flag: true},
			{Do: "read", Key: key{op: "list", id: "a"}},
		})
		if err != nil {
			t.Errorf("%+v: %v", other, err)
		}
	}
}

// A sequence that hardly comes about by chance. Where a user has many entries, the invalidation of
// one operation takes those of the others with it, and counts them.
func TestAnOperationOfAUserWithManyEntriesMayTakeTheOthersWithIt(t *testing.T) {
	servers := start(t)
	load(t, servers, registry.Library)
	for _, mode := range []string{"soft", "hard"} {
		err := runSequence(t.Context(), servers, registry.Library, []step{
			{Do: "apply", Policy: policy{Default: 60_000}},
			{Do: "fill many", Key: key{op: "list", user: "u"}},
			{Do: "fill many", Key: key{op: "4:list", user: "u"}},
			{Do: "invalidate", Key: key{op: "x", user: "u"}, Scope: "user's operation", Mode: mode},
			{Do: "read", Key: key{op: "list", user: "u", id: "many1"}},
			{Do: "get", Key: key{op: "4:list", user: "u", id: "many2"}},
		})
		if err != nil {
			t.Errorf("%s: %v", mode, err)
		}
	}
}
