// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package mget

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
)

var users = keyspace.Slot{Namespace: "shop", Module: "users"}

// held is a hook that counts MGETs, and holds them until it is opened.
type held struct {
	mgets atomic.Int64
	open  chan struct{}
}

func (*held) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*held) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *held) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "mget" {
			h.mgets.Add(1)
			<-h.open
		}
		return next(ctx, cmd)
	}
}

// waiting is how many keys the next MGET of a slot has by now.
func (b *Batches) waiting(slot keyspace.Slot) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if batch := b.collecting[slot]; batch != nil {
		return len(batch.keys)
	}
	return 0
}

// Each reader gets its own, whatever else is in the same MGET.
func TestReadsOfAModuleAtTheSameTimeAreOneMGET(t *testing.T) {
	const readers = 30
	for name, test := range map[string]struct {
		readers, waiting, mgets int
	}{
		// The first is in progress. The others request an entry each, and in total a module's head, three
		// of operations, two of users.
		"those that fit": {readers: readers, waiting: readers - 1 + 6, mgets: 2},
		"a full batch":   {readers: 10 * readers, waiting: batchKeys - 3, mgets: 10*readers - batchKeys/2},
	} {
		t.Run(name, func(t *testing.T) {
			client := redistest.Start(t).Client()
			reads := make([][]string, test.readers)
			for i := range reads {
				reads[i] = readKeys(i)
				storeThemselves(t, client, reads[i])
			}
			hook := &held{open: make(chan struct{})}
			client.AddHook(hook)
			batches := NewBatches(client)
			var wg sync.WaitGroup
			read := func(keys []string) {
				wg.Go(func() {
					values, err := batches.Read(t.Context(), users, slices.Clone(keys))
					if err != nil || !slices.Equal(values, keys) {
						t.Errorf("reading %q: %q, %v", keys, values, err)
					}
				})
			}
			read(reads[0])
			eventually(t, hook.mgets.Load).Should(gomega.BeEquivalentTo(1))
			for _, keys := range reads[1:] {
				read(keys)
			}
			eventually(t, func() int { return batches.waiting(users) }).Should(gomega.BeNumerically(">=", test.waiting))
			close(hook.open)
			wg.Wait()
			if mgets := hook.mgets.Load(); mgets > int64(test.mgets) {
				t.Errorf("%d MGETs", mgets)
			}
		})
	}
}

// readKeys are those of an entry of one of three operations, shared or of one of two users.
func readKeys(i int) []string {
	return keyspace.AppendReadKeys(nil, keyspace.Key{
		Slot: users, Operation: fmt.Sprint("op-", i%3), ID: fmt.Sprint(i), User: []string{"", "u1", "u2"}[i%3],
	})
}

// storeThemselves stores keys as their own values.
func storeThemselves(t *testing.T, client *redis.Client, keys []string) {
	t.Helper()
	for _, key := range keys {
		if err := client.Set(t.Context(), key, key, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func eventually(t *testing.T, actual any) gomega.AsyncAssertion {
	t.Helper()
	return gomega.NewWithT(t).Eventually(actual).WithTimeout(20 * time.Second).WithPolling(20 * time.Millisecond)
}
