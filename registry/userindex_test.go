// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"testing"
	"time"

	"github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"
)

func listedOfUser(t *testing.T, client *redis.Client, user string) int64 {
	t.Helper()
	listed, err := client.ZCard(t.Context(), keyOf(users)+":iu:"+user).Result()
	if err != nil {
		t.Fatal(err)
	}
	return listed
}

// A user's index that lives on with other entries forgets those that have expired.
func TestAUsersIndexForgetsWhatExpired(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, Policy{Operations: []OperationPolicy{
		{Name: "brief", TTL: 20 * time.Millisecond}, {Name: "lasting", TTL: time.Hour},
	}})
	fill(t, r, entry("lasting", "a", "u"), "x")
	for i := range 100 {
		fill(t, r, entry("brief", fmt.Sprint(i), "u"), "x")
	}
	eventually(t, func() int64 {
		lease(t, r, entry("lasting", "b", "u"))
		return listedOfUser(t, client, "u")
	}).Should(gomega.Equal(int64(1)))
}

// What an invalidation of an operation frees leaves the indexes of users, too.
func TestAUsersIndexForgetsWhatWasFreed(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	fill(t, r, entry("other", "a", "u"), "x")
	for _, count := range []int{100, 500} { // at once, and by reclaim
		fillMany(t, r, "list", "u", count)
		invalidate(t, r, users, Scope{Operation: "list"})
		reclaimAll(t, r, users)
		if listed := listedOfUser(t, client, "u"); listed != 1 {
			t.Errorf("of %d entries that were freed the index lists %d still", count, listed-1)
		}
	}
}

// A lowered TTL counts in the indexes of users, too: by them, many entries are counted by when they
// expire.
func TestAUsersIndexFollowsALoweredTTL(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, Policy{DefaultTTL: new(time.Hour)})
	fillMany(t, r, "list", "u", 150)
	apply(t, r, users, caching())
	reclaimAll(t, r, users)
	latest := client.ZRevRangeWithScores(t.Context(), keyOf(users)+":iu:u", 0, 0).Val()
	if len(latest) != 1 || latest[0].Score > float64(time.Now().Add(2*time.Minute).UnixMilli()) {
		t.Errorf("the last entry expires by the index at %v", latest)
	}
}
