// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/wire"
)

// A tenant may write anything into the keys of its modules, and functions run with its rights.
// Whatever stands there: each call ends within its bound, and a purge takes effect.

// bounded is a registry whose calls time out.
func bounded(t *testing.T) (*Registry, *redis.Client) {
	t.Helper()
	_, client := newRegistry(t)
	options := *client.Options()
	options.ReadTimeout, options.MaxRetries = 20*time.Second, -1
	hasty := redis.NewClient(&options)
	t.Cleanup(func() { _ = hasty.Close() })
	return New(hasty), hasty
}

// boundOfGarbage is how many commands a call may run where a module has a few operations.
const boundOfGarbage = 1500

func wantBounded(t *testing.T, client *redis.Client, what string, call func() error) {
	t.Helper()
	before := commandsRun(t, client)
	if err := call(); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if took := commandsRun(t, client) - before; took > boundOfGarbage {
		t.Errorf("%s takes %d commands", what, took)
	}
}

// everyCall makes the calls that go through what a slot holds.
func everyCall(t *testing.T, r *Registry, client *redis.Client) {
	t.Helper()
	ctx := t.Context()
	key := entry("list", "a", "u")
	wantBounded(t, client, "a lease", func() error { _, err := r.LeaseLocked(ctx, key, time.Minute); return err })
	wantBounded(t, client, "a fill", func() error {
		lookup, err := r.Lease(ctx, entry("list", "new", "u"))
		return errors.Join(err, setOnly(ctx, r, entry("list", "new", "u"), lookup.Token))
	})
	wantBounded(t, client, "a deletion", func() error { _, err := r.Delete(ctx, key); return err })
	wantBounded(t, client, "figures", func() error { _, err := r.Stats(ctx, users); return err })
	wantBounded(t, client, "the hash", func() error { _, err := r.PolicyHashes(ctx, []Slot{users}); return err })
	wantBounded(t, client, "reclaim", func() error { _, err := r.Reclaim(ctx, users, 200); return err })
	for _, mode := range []Mode{ModeDry, ModeSoft, ModeHard} {
		for _, scope := range []Scope{{Operation: "list", User: "u"}, {User: "u"}, {Operation: "list"}, {}} {
			wantBounded(t, client, fmt.Sprintf("%s %+v", mode, scope), func() error {
				_, err := r.Invalidate(ctx, users, scope, mode, "")
				return err
			})
		}
	}
	wantBounded(t, client, "a policy", func() error { _, err := r.ApplyPolicy(ctx, users, editedPolicy()); return err })
}

func setOnly(ctx context.Context, r *Registry, key Key, token Token) error {
	if token == "" {
		return nil
	}
	_, err := r.Set(ctx, key, []byte("x"), token)
	return err
}

func indexOf(t *testing.T, client *redis.Client) string {
	t.Helper()
	return keyOf(users) + ":i:" + client.GetRange(t.Context(), keyOf(users)+":o:list", 0, wire.EpochLen-1).Val()
}

// Calls end, and drop slices that this library would not write and invalid numbers of chunks.
func TestCallsEndWhateverAnIndexSays(t *testing.T) {
	garbage := map[string]func(*testing.T, *redis.Client, string, string){
		"an open chunk that no index reaches": func(t *testing.T, c *redis.Client, index, slice string) {
			c.HSet(t.Context(), index, slice, "9007199254740990 5")
		},
		"more closed members than chunks": func(t *testing.T, c *redis.Client, index, slice string) {
			c.HSet(t.Context(), index, slice, "2 900719925474099")
		},
		"many empty chunks": func(t *testing.T, c *redis.Client, index, slice string) {
			c.HSet(t.Context(), index, slice, "65535 0")
		},
		"no numbers": func(t *testing.T, c *redis.Client, index, slice string) {
			c.HSet(t.Context(), index, slice, "", "0x10", "1 1", "-1", "1 1", "1e3", "1 1", "9007199254740990", "5 5", "007", "0 0", "", "1 1", "x", "y", "63", "0 0")
		},
		"a hundred thousand slices": func(t *testing.T, c *redis.Client, index, _ string) { manyFields(t, c, index, "%d") },
		"a slice of a megabyte": func(t *testing.T, c *redis.Client, index, _ string) {
			c.HSet(t.Context(), index, "1", strings.Repeat("1", 1<<20))
		},
	}
	for name, write := range garbage {
		t.Run(name, func(t *testing.T) {
			r, client := bounded(t)
			apply(t, r, users, editedPolicy())
			fillAll(t, r, entry("list", "a", "u"), entry("list", "b", ""))
			index := indexOf(t, client)
			write(t, client, index, client.HKeys(t.Context(), index).Val()[0])
			everyCall(t, r, client)
			fillAll(t, r, entry("list", "c", ""))
			if result := invalidate(t, r, users, Scope{}); result.Keys != 1 || isHit(t, r, entry("list", "c", "")) {
				t.Errorf("after it all a purge says %+v", result)
			}
		})
	}
}

func manyFields(t *testing.T, client *redis.Client, key, format string) {
	t.Helper()
	pipe := client.Pipeline()
	for at := range 100 {
		fields := make([]string, 0, 2*1000)
		for i := range 1000 {
			fields = append(fields, fmt.Sprintf(format, 1_000_000+1000*at+i), "1 1")
		}
		pipe.HSet(t.Context(), key, fields)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A chunk may be as long as a tenant likes: it is not read, but dropped.
func TestAHugeChunkIsDropped(t *testing.T) {
	for name, member := range map[string]string{"of many members": "0::x", "of large members": strings.Repeat("x", 1<<20)} {
		t.Run(name, func(t *testing.T) {
			r, client := bounded(t)
			apply(t, r, users, editedPolicy())
			fillAll(t, r, entry("list", "a", "u"), entry("list", "b", ""))
			for _, key := range keysOf(t, client, users) {
				if strings.HasPrefix(key, "i:") && strings.HasSuffix(key, ":0") {
					pushTimes(t, client, keyOf(users)+":"+key, member, 4<<20/len(member))
				}
			}
			everyCall(t, r, client)
			reclaimAll(t, r, users)
			if chunks := keyCount(t, client, users, "i:"); chunks > 2 {
				t.Errorf("%d keys of indexes are left: %q", chunks, keysOf(t, client, users))
			}
		})
	}
}

// pushTimes pushes a member so many times. A busy server does not take a million members within the
// timeout of one command.
func pushTimes(t *testing.T, client redis.UniversalClient, list, member string, count int) {
	t.Helper()
	for batch := range slices.Chunk(slices.Repeat([]any{member}, count), 1<<14) {
		if err := client.RPush(t.Context(), list, batch...).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// What is pending may be anything, and so many: what is no work goes, and the rest is done.
func TestStrangePendingWorkIsDropped(t *testing.T) {
	r, client := bounded(t)
	apply(t, r, users, editedPolicy())
	fillMany(t, r, "list", "", 300)
	pending := keyOf(users) + ":pending"
	epoch := "MMMMMMMMMMM"
	client.RPush(t.Context(), pending, "", "x", "z:1:1:x", "o:1:1:", "o:9007199254740993:1:"+epoch+":list", "t:1:1:"+epoch+":-999:list",
		"s:1:1:"+epoch+":0x10:0:0:list", "s:1:1:"+epoch+":1:0:99999999:list", "s:1:1:x", "t:1:1:", "u:1:1:", strings.Repeat("o", 1<<20))
	invalidate(t, r, users, Scope{Operation: "list"})
	client.RPush(t.Context(), pending, "o:-1:1:", "\x00")
	if stats, err := r.Stats(t.Context(), users); err != nil || stats.Pending < 1 {
		t.Errorf("%d wait (%v)", stats.Pending, err)
	}
	if freed := reclaimAll(t, r, users); freed != 300 {
		t.Errorf("%d were freed", freed)
	}

	members := make([]any, 20_000)
	for i := range members {
		members[i] = "o:1:1:" + epoch + ":list"
	}
	client.RPush(t.Context(), pending, members...)
	wantBounded(t, client, "reclaim", func() error { _, err := r.Reclaim(t.Context(), users, 200); return err })
	if left := client.Exists(t.Context(), pending).Val(); left != 0 {
		t.Error("more pieces of work than there can be were kept")
	}
}
