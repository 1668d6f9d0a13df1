// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"runtime"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
)

// batchKeys bounds a batch: about a hundred entries, which Redis answers in a fraction of a
// millisecond.
const batchKeys = 128

// readBatches combines concurrent reads of the same module into one MGET. It requests the heads
// that their entries share, which are most of the keys of a read, only once.
type readBatches struct {
	client redis.UniversalClient

	mu sync.Mutex
	// collecting has the next batch of each slot, which is sent when the previous one is answered;
	// nil: no read waits. Each slot in it has a goroutine that sends.
	collecting map[Slot]*readBatch
}

// readBatch is an MGET of many reads.
type readBatch struct {
	keys  []string
	heads map[string]int // positions in keys

	done   chan struct{} // closed once values and err are set
	values []string
	err    error
}

func newReadBatches(client redis.UniversalClient) *readBatches {
	return &readBatches{client: client, collecting: map[Slot]*readBatch{}}
}

// read returns the values of an entry's read keys. The MGET begins after the call of read, and may
// outlive its context.
func (b *readBatches) read(
	ctx context.Context, slot Slot, keys []string,
) (values []string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var array [4]int
	batch, positions := b.join(slot, keys, array[:0])
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
	for _, position := range positions {
		values = append(values, batch.values[position])
	}
	return values, nil
}

// join adds keys to the batch of a slot. It returns the batch and the positions of the keys in it;
// nil: the batch is full.
func (b *readBatches) join(slot Slot, keys []string, positions []int) (*readBatch, []int) {
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
	positions = append(positions, batch.add(keys[0]))
	for _, head := range keys[1:] {
		position, known := batch.heads[head]
		if !known {
			position = batch.add(head)
			batch.heads[head] = position
		}
		positions = append(positions, position)
	}
	return batch, positions
}

func (b *readBatch) add(key string) (position int) {
	b.keys = append(b.keys, key)
	return len(b.keys) - 1
}

// send sends the batches of a slot one after the other until there are no more.
func (b *readBatches) send(slot Slot) {
	for {
		runtime.Gosched() // lets the callers of the last batch read again
		batch := b.take(slot)
		if batch == nil {
			return
		}
		// The client's timeouts bound the command.
		batch.err = fault.Contain(func() (err error) {
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
