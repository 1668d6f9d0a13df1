// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package mget

import (
	"context"
	"runtime"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
)

// batchKeys bounds a batch: about a hundred entries, which Redis answers in a fraction of a
// millisecond.
const batchKeys = 128

// Batches combines concurrent reads of the same module into one MGET. It requests the heads
// that their entries share, which are most of the keys of a read, only once.
type Batches struct {
	client redis.UniversalClient

	mu sync.Mutex
	// collecting has the next batch of each slot, which is sent when the previous one is answered;
	// nil: no read waits. Each slot in it has a goroutine that sends.
	collecting map[keyspace.Slot]*request
}

// request is an MGET of many reads.
type request struct {
	keys  []string
	heads map[string]int // positions in keys

	done   chan struct{} // closed once values and err are set
	values []string
	err    error
}

// NewBatches returns batches on connections of a client.
func NewBatches(client redis.UniversalClient) *Batches {
	return &Batches{client: client, collecting: map[keyspace.Slot]*request{}}
}

// Read returns the values of an entry's read keys. The MGET begins after the call of Read, and may
// outlive its context. It may overwrite the keys with the values.
func (b *Batches) Read(
	ctx context.Context, slot keyspace.Slot, keys []string,
) (values []string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var array [4]int
	batch, positions := b.join(slot, keys, array[:0])
	if batch == nil {
		return Get(ctx, b.client.Process, keys)
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
func (b *Batches) join(slot keyspace.Slot, keys []string, positions []int) (*request, []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	batch, sending := b.collecting[slot]
	if batch == nil {
		batch = &request{heads: map[string]int{}, done: make(chan struct{})}
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

func (b *request) add(key string) (position int) {
	b.keys = append(b.keys, key)
	return len(b.keys) - 1
}

// send sends the batches of a slot one after the other until there are no more.
func (b *Batches) send(slot keyspace.Slot) {
	for {
		runtime.Gosched() // lets the callers of the last batch read again
		batch := b.take(slot)
		if batch == nil {
			return
		}
		// The client's timeouts bound the command.
		batch.err = fault.Contain(func() (err error) {
			batch.values, err = Get(context.Background(), b.client.Process, batch.keys)
			return err
		})
		close(batch.done)
	}
}

func (b *Batches) take(slot keyspace.Slot) *request {
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
