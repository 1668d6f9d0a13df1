// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
)

// The servers lack the library at first, and one slot is damaged: each call has its own result all
// the same.
func TestManyInvalidationsHaveAResultEach(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	for name, client := range map[string]redis.UniversalClient{"standalone": redistest.Start(t).Client(), "cluster": cluster.Client()} {
		t.Run(name, func(t *testing.T) {
			r := registryOn(t, client)
			const modules, entries = 2*invalidationBatch + 50, 3
			var calls []Invalidation
			for i := range modules {
				slot := Slot{Namespace: "shop", Module: fmt.Sprint("m", i)}
				if i%50 == 0 {
					apply(t, r, slot, caching())
					for id := range entries {
						fill(t, r, Key{Slot: slot, Operation: "list", ID: fmt.Sprint(id)}, "x")
					}
				}
				calls = append(calls, Invalidation{Slot: slot, Mode: ModeHard, RequestID: "a"})
			}
			calls[1].Mode = "rubbish"
			if err := client.Set(t.Context(), calls[2].Slot.key()+":counters", "no hash", 0).Err(); err != nil {
				t.Fatal(err)
			}
			flush(t, client)

			for range 2 { // the second time it is the first answer that is given
				results := r.InvalidateMany(t.Context(), calls)
				if len(results) != modules {
					t.Fatalf("%d results", len(results))
				}
				for i, result := range results {
					switch want := (Invalidated{Keys: entries}); {
					case i == 1:
						if !errors.Is(result.Err, ErrRejected) || !strings.Contains(result.Err.Error(), "shop/m1") {
							t.Errorf("a mode that is none: %+v", result)
						}
					case i%50 != 0:
						want = Invalidated{}
						fallthrough
					default:
						if result.Err != nil || result.Invalidated != want {
							t.Errorf("%s: %+v; want %+v", calls[i].Slot, result, want)
						}
					}
				}
			}
		})
	}
}

func TestManyInvalidationsOfARedisThatIsDown(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialTimeout: time.Second})
	t.Cleanup(func() { _ = client.Close() })
	for i, result := range New(client).InvalidateMany(t.Context(), []Invalidation{{Slot: users, Mode: ModeHard}, {Slot: users, Mode: ModeHard}}) {
		if !errors.Is(result.Err, ErrUnreachable) {
			t.Errorf("call %d: %+v", i, result)
		}
	}
}

// flush takes the library from every primary.
func flush(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	if err := New(client).forEachPrimary(t.Context(), func(ctx context.Context, node *redis.Client) error {
		return node.FunctionFlush(ctx).Err()
	}); err != nil {
		t.Fatal(err)
	}
}

// Pipelines grow where Redis has little to do for each call, and stay short where it frees entries.
func TestPipelinesOfInvalidationsAreAsLongAsRedisIsQuick(t *testing.T) {
	results := func(keys, pending int64) []InvalidationResult {
		all := make([]InvalidationResult, invalidationBatch)
		for i := range all {
			all[i].Keys, all[i].Pending = keys, pending
		}
		return all
	}
	for name, test := range map[string]struct {
		results []InvalidationResult
		want    int
	}{
		"nothing was there":            {results(0, 0), lightBatch},
		"all is left for later":        {results(10_000, 10_000), lightBatch},
		"each freed a few":             {results(lightCall-1, 0), lightBatch},
		"each freed as many as it may": {results(128, 0), invalidationBatch},
	} {
		if got := nextBatch(test.results); got != test.want {
			t.Errorf("%s: %d; want %d", name, got, test.want)
		}
	}
}
