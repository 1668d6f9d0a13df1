// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
)

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
func (b *readBatches) waiting(slot Slot) int {
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
			r := newPipelined(t, client, HalfDuplex)
			apply(t, r, users, caching())
			keys := make([]Key, test.readers)
			for i := range keys {
				keys[i] = entry(fmt.Sprint("op-", i%3), fmt.Sprint(i), []string{"", "u1", "u2"}[i%3])
			}
			fillAll(t, r, keys...)

			hook := &held{open: make(chan struct{})}
			client.AddHook(hook)
			var wg sync.WaitGroup
			read := func(key Key) {
				wg.Go(func() {
					if lookup, err := r.Read(t.Context(), key); err != nil || string(lookup.Payload) != payloadOf(key) {
						t.Errorf("reading %q: %q, %v", key.ID, lookup.Payload, err)
					}
				})
			}
			read(keys[0])
			eventually(t, hook.mgets.Load).Should(gomega.BeEquivalentTo(1))
			for _, key := range keys[1:] {
				read(key)
			}
			eventually(t, func() int { return r.batches.waiting(users) }).Should(gomega.BeNumerically(">=", test.waiting))
			close(hook.open)
			wg.Wait()
			if mgets := hook.mgets.Load(); mgets > int64(test.mgets) {
				t.Errorf("%d MGETs", mgets)
			}
		})
	}
}

// What one MGET does not give, none of its readers gets; the next is another.
func TestABatchThatFailsIsAnErrorToItsReaders(t *testing.T) {
	server := redistest.Start(t)
	r := newPipelined(t, server.Client(), HalfDuplex)
	apply(t, r, users, caching())
	key := entry("list", "a", "")
	fill(t, r, key, "x")
	server.Kill()
	if _, err := r.Read(t.Context(), key); !errors.Is(err, ErrUnreachable) {
		t.Errorf("with a Redis that is gone: %v", err)
	}
	server.Restart()
	eventually(t, func() error { _, err := r.Read(t.Context(), key); return err }).Should(gomega.Succeed())
}
