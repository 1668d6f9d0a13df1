// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
)

// Two processes want the same entries in opposite order, so each may own what the other waits for.
func TestManyEntriesInOppositeOrderAreLoadedOnce(t *testing.T) {
	const entries, load = 100, 50 * time.Millisecond
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	one := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
	other := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
	for round := range 5 {
		var mu sync.Mutex
		loads := map[int]int{}
		var both sync.WaitGroup
		began := time.Now()
		for i, c := range []*cache.Client{one, other, one, other} {
			ids := make([]int, entries)
			for n := range ids {
				ids[n] = n
			}
			if i%2 == 1 {
				slices.Reverse(ids)
			}
			both.Go(func() {
				got, err := cache.FetchMany(t.Context(), c, ids,
					func(id int) cache.Key {
						return cache.Key{Module: "users", Operation: "get", Params: fmt.Sprint(round, "/", id)}
					},
					func(_ context.Context, missing []int) (map[int]int, error) {
						time.Sleep(load)
						mu.Lock()
						defer mu.Unlock()
						found := map[int]int{}
						for _, id := range missing {
							loads[id]++
							found[id] = id
						}
						return found, nil
					})
				if err != nil || len(got) != entries || got[7] != 7 {
					t.Errorf("got %d, %v", len(got), err)
				}
			})
		}
		both.Wait()
		for id, times := range loads {
			if times != 1 {
				t.Errorf("round %d: entry %d was loaded %d times in %s", round, id, times, time.Since(began))
			}
		}
	}
}

func TestManyEntriesOfAClusterAndANearCache(t *testing.T) {
	cluster := redistest.StartCluster(t, 3)
	admin := cluster.Client()
	key := func(id int) cache.Key {
		return cache.Key{Module: fmt.Sprint("m", id%7), Operation: "get", Params: id}
	}
	for m := range 7 {
		applyPolicy(t, admin, fmt.Sprint("m", m), hour())
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: []string{cluster.Servers()[0].Addr()}, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: quietly,
	})
	c := newCache(t, client, cache.WithNearCache(cache.NearCache{}), cache.WithTimeout(waitTimeout))
	asked := 0
	fetch := func(version int) map[int]int {
		ids := make([]int, 70)
		for i := range ids {
			ids[i] = i
		}
		got, err := cache.FetchMany(t.Context(), c, ids, key, func(_ context.Context, missing []int) (map[int]int, error) {
			asked += len(missing)
			found := map[int]int{}
			for _, id := range missing {
				found[id] = version
			}
			return found, nil
		})
		if err != nil || len(got) != len(ids) {
			t.Fatalf("got %d, %v", len(got), err)
		}
		return got
	}
	// While it connects to further nodes, the client cannot know which state answers, and stores nothing.
	fetch(1)
	fetch(1)
	before := asked
	for range 3 {
		fetch(1)
	}
	if asked != before {
		t.Errorf("the source was asked for %d entries that are cached", asked-before)
	}
	if err := c.DeleteMany(t.Context(), key(3), key(4), key(10)); err != nil {
		t.Fatal(err)
	}
	if got := fetch(2); asked != before+3 || got[3] != 2 || got[4] != 2 || got[10] != 2 || got[5] != 1 {
		t.Errorf("after deletions: asked for %d, got %v", asked-before, got)
	}
}
