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
	"github.com/cachewright/cachewright/registry/internal/primary"
)

// The servers lack the library at first, and one slot is damaged: each call has its own result all
// the same.
func TestManyInvalidationsHaveAResultEach(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	for name, client := range map[string]redis.UniversalClient{"standalone": redistest.Start(t).Client(), "cluster": cluster.Client()} {
		t.Run(name, func(t *testing.T) {
			r := registryOn(t, client)
			const modules, entries = 2*20 + 50, 3
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
			if err := client.Set(t.Context(), keyOf(calls[2].Slot)+":counters", "no hash", 0).Err(); err != nil {
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
	if err := primary.ForEach(t.Context(), client, func(ctx context.Context, node *redis.Client) error {
		return node.FunctionFlush(ctx).Err()
	}); err != nil {
		t.Fatal(err)
	}
}

// loadedVersion returns the version of a server's function library.
func loadedVersion(ctx context.Context, node *redis.Client) (int, error) {
	return primary.LibraryVersion(ctx, node)
}
