// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"runtime"
	"sync"

	"github.com/redis/go-redis/v9"
)

// batchKeys is when a batch is full: at about a hundred entries, which Redis answers in a fraction of a millisecond.
const batchKeys = 128

// readBatches makes one MGET of what goroutines read of the same module at the same time. The heads that their entries
// share, which are most of what a read asks for, are asked for once.
type readBatches struct {
	client redis.UniversalClient

	mu sync.Mutex
	// collecting has the batch of each slot that is to be sent when the one before is answered; nil: none is there yet.
	// A slot that is in it has a goroutine that sends.
	collecting map[Slot]*readBatch
}

// readBatch is an MGET of many reads.
type readBatch struct {
	keys  []string
	heads map[string]int // where they are in keys

	done   chan struct{} // closed once values and err are there
	values []string
	err    error
}

func newReadBatches(client redis.UniversalClient) *readBatches {
	return &readBatches{client: client, collecting: map[Slot]*readBatch{}}
}

// read returns the values of an entry's read keys. The MGET begins after it was called, and outlives its context.
func (b *readBatches) read(ctx context.Context, slot Slot, keys []string) (values []string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var room [4]int
	batch, places := b.join(slot, keys, room[:0])
	if batch == nil {
		return mget(ctx, b.client.Process, keys)
	}
	select {
	case <-batch.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if batch.err != nil {
		return nil, batch.err
	}
	values = keys[:0]
	for _, place := range places {
		values = append(values, batch.values[place])
	}
	return values, nil
}

// join adds keys to the batch of a slot and returns it and where they are in it; nil where it is full.
func (b *readBatches) join(slot Slot, keys []string, places []int) (*readBatch, []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	batch, sending := b.collecting[slot]
	if batch == nil {
		batch = &readBatch{heads: map[string]int{}, done: make(chan struct{})}
		b.collecting[slot] = batch
	}
	if !sending {
		go b.send(slot)
	}
	if len(batch.keys)+len(keys) > batchKeys {
		return nil, nil
	}
	places = append(places, batch.add(keys[0]))
	for _, head := range keys[1:] {
		place, known := batch.heads[head]
		if !known {
			place = batch.add(head)
			batch.heads[head] = place
		}
		places = append(places, place)
	}
	return batch, places
}

func (b *readBatch) add(key string) (place int) {
	b.keys = append(b.keys, key)
	return len(b.keys) - 1
}

// send sends batches of a slot, one after the other, until there is none.
func (b *readBatches) send(slot Slot) {
	for {
		runtime.Gosched() // those whom the last batch answered come back first
		batch := b.take(slot)
		if batch == nil {
			return
		}
		// The client's timeouts bound it.
		batch.err = contained(func() (err error) {
			batch.values, err = mget(context.Background(), b.client.Process, batch.keys)
			return err
		})
		close(batch.done)
	}
}

func (b *readBatches) take(slot Slot) *readBatch {
	b.mu.Lock()
	defer b.mu.Unlock()
	batch := b.collecting[slot]
	if batch == nil {
		delete(b.collecting, slot)
		return nil
	}
	b.collecting[slot] = nil
	return batch
}
