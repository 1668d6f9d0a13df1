// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// entryReads counts the reads of entries. The near cache also reads heads, when they change.
type entryReads struct {
	atomic.Int64

	answered atomic.Pointer[func()] // called after a read was answered
}

func (e *entryReads) DialHook(next redis.DialHook) redis.DialHook { return next }

func (e *entryReads) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (e *entryReads) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() != "mget" || !strings.Contains(fmt.Sprint(cmd.Args()[1]), ":e:") {
			return next(ctx, cmd)
		}
		e.Add(1)
		err := next(ctx, cmd)
		if answered := e.answered.Swap(nil); answered != nil {
			(*answered)()
		}
		return err
	}
}

// nearWithReads returns a client with a near cache, and what counts its reads of entries.
func nearWithReads(t *testing.T, server *redistest.Server) (*cache.Client, *entryReads) {
	t.Helper()
	client, read := redis.NewClient(redisOptions(server.Addr())), &entryReads{}
	client.AddHook(read)
	return newNearCache(t, client, cache.NearCache{MaxAge: time.Hour}), read
}

// someOf returns keys of one operation, shared and of users.
func someOf(operation string) (keys []cache.Key) {
	for i := range 10 {
		keys = append(keys, cache.Key{Module: "users", Operation: operation, Params: i},
			cache.Key{Module: "users", Operation: operation, Params: i, User: "ada"})
	}
	return keys
}

// readAgain returns which entries are read from Redis.
func readAgain(t *testing.T, c cache.Cache, read *entryReads, keys []cache.Key) (again []cache.Key) {
	t.Helper()
	for _, key := range keys {
		before := read.Load()
		fetchLoaded(t, c, key)
		if read.Load() != before {
			again = append(again, key)
		}
	}
	return again
}

// docs/applications.md says so. After a deletion, its report may find the process busy, and nothing
// of the operation is served until the log was read. So what counts is what was read again when
// all are served from memory again.
func TestDeletionEndsTheDeletedEntryOnly(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c, read := nearWithReads(t, server)
	other := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
	keys := someOf("get")
	deleted, last := keys[3], keys[len(keys)-1]
	hold := func(ctx context.Context, c cache.Holder) error {
		held, err := c.Hold(ctx, time.Minute, deleted)
		if err != nil {
			return err
		}
		return held.Release(ctx)
	}
	for name, remove := range map[string]func(ctx context.Context, c *cache.Client) error{
		"delete": func(ctx context.Context, c *cache.Client) error { return c.Delete(ctx, deleted) },
		"put":    func(ctx context.Context, c *cache.Client) error { return c.Set(ctx, deleted, "value") },
		"hold":   func(ctx context.Context, c *cache.Client) error { return hold(ctx, c) },
		"many":   func(ctx context.Context, c *cache.Client) error { return c.DeleteMany(ctx, deleted, deleted) },
	} {
		for who, by := range map[string]*cache.Client{"another process": other, "this process": c} {
			for _, key := range keys {
				warm(t, server, c, key)
			}
			NewWithT(t).Eventually(func() []cache.Key { return readAgain(t, c, read, keys) }).
				WithTimeout(waitTimeout).Should(BeEmpty(), "not everything is kept")
			if err := remove(t.Context(), by); err != nil {
				t.Fatal(err)
			}
			// The report has come, and was looked up, when the one of a later deletion has.
			if err := other.Delete(t.Context(), last); err != nil {
				t.Fatal(err)
			}
			NewWithT(t).Eventually(func() bool { return fetchLoaded(t, c, last) }).WithTimeout(waitTimeout).Should(BeTrue())
			NewWithT(t).Eventually(func() bool {
				before := read.Load()
				fetchLoaded(t, c, keys[0])
				return read.Load() == before
			}).WithTimeout(waitTimeout).Should(BeTrue(), "the operation is not kept any more")
			if again := readAgain(t, c, read, keys[1:len(keys)-1]); len(again) != 1 || again[0] != deleted {
				t.Errorf("%s by %s: read again: %+v", name, who, again)
			}
		}
	}
}

// The value was read before the deletion. It is put after the deletion was looked up.
func TestValueFromBeforeADeletionIsNotKeptAfterIt(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c, read := nearWithReads(t, server)
	other := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
	witness := cache.Key{Module: "users", Operation: usersGet.Operation, Params: "witness"}
	for name, by := range map[string]*cache.Client{"another process": other, "this process": c} {
		if err := other.Set(t.Context(), usersGet, "value"); err != nil {
			t.Fatal(err)
		}
		// The operation is followed, and both are kept.
		warm(t, server, c, usersGet)
		warm(t, server, c, witness)
		// What was kept of it goes, so that it is read again.
		if err := c.Set(t.Context(), usersGet, "value"); err != nil {
			t.Fatal(err)
		}
		warm(t, server, c, witness)
		meanwhile := func() {
			for _, key := range []cache.Key{usersGet, witness} {
				if err := by.Delete(t.Context(), key); err != nil {
					t.Error(err)
				}
			}
			NewWithT(t).Eventually(func() bool { return fetchLoaded(t, c, witness) }).WithTimeout(waitTimeout).Should(BeTrue())
			warm(t, server, c, witness) // the heads are known again, so what is put now could be served
		}
		read.answered.Store(&meanwhile)
		if fetchLoaded(t, c, usersGet) {
			t.Fatal("it was not read from Redis")
		}
		if !fetchLoaded(t, c, usersGet) {
			t.Errorf("deleted by %s: what was read before is served after it", name)
		}
	}
}

// A policy renews the fence of what it changes. That is no deletion of an entry.
func TestChangeOfARuleEndsAllThatIsKeptOfTheOperation(t *testing.T) {
	server := redistest.Start(t)
	policy := registry.Policy{Operations: []registry.OperationPolicy{{Name: "get", TTL: time.Hour}}}
	applyPolicy(t, server.Client(), "users", policy)
	c, read := nearWithReads(t, server)
	keys := someOf("get")
	for _, key := range keys {
		warm(t, server, c, key)
	}
	NewWithT(t).Eventually(func() []cache.Key { return readAgain(t, c, read, keys) }).WithTimeout(waitTimeout).Should(BeEmpty())
	policy.Operations[0].StaleFor = time.Minute
	before := read.Load()
	applyPolicy(t, server.Client(), "users", policy)
	NewWithT(t).Eventually(func() int64 {
		readAgain(t, c, read, keys)
		return read.Load() - before
	}).WithTimeout(waitTimeout).Should(BeNumerically(">=", len(keys)))
}

// A log that Redis evicted tells nothing, so everything goes, and what follows is looked up again.
func TestWithoutALogADeletionEndsAllThatIsKeptOfTheOperation(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c, read := nearWithReads(t, server)
	keys := someOf("get")
	for _, key := range keys {
		warm(t, server, c, key)
	}
	NewWithT(t).Eventually(func() []cache.Key { return readAgain(t, c, read, keys) }).WithTimeout(waitTimeout).Should(BeEmpty())
	before := read.Load()
	head, log := "cw:{shop/users}:o:get", "cw:{shop/users}:d:get"
	err := server.Client().Eval(t.Context(), `redis.call('SETRANGE', KEYS[1], 11, 'another one')
		return redis.call('UNLINK', KEYS[2])`, []string{head, log}).Err()
	if err != nil {
		t.Fatal(err)
	}
	NewWithT(t).Eventually(func() int64 {
		readAgain(t, c, read, keys)
		return read.Load() - before
	}).WithTimeout(waitTimeout).Should(BeNumerically(">=", len(keys)))
}
