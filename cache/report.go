// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cachewright/cachewright/registry"
)

const (
	// reportOperations bounds the operations whose counts wait to be reported. The counts of more
	// are lost.
	reportOperations = 1000
	// reportTimeout bounds the reporting of all of them.
	reportTimeout = 5 * time.Second
	// reportFailures is of how many modules in a row a report may fail. Then it ends: nothing of Redis can be reached.
	reportFailures = 10
)

// reporter adds up counts and sends them at intervals, by one goroutine.
type reporter struct {
	send func(ctx context.Context, module, operation string, counters registry.Counters) error

	mu      sync.Mutex
	pending map[operationKey]registry.Counters
	hot     map[operationKey]*atomic.Int64
	closed  bool
	failing bool // the last report failed, at least in part: the next one is not before the interval is over

	full   chan struct{}
	cancel context.CancelFunc
	done   chan struct{}
}

type operationKey struct{ module, operation string }

func newReporter(
	send func(ctx context.Context, module, operation string, counters registry.Counters) error,
	interval time.Duration,
) *reporter {
	ctx, cancel := context.WithCancel(context.Background())
	r := &reporter{
		send:    send,
		pending: make(map[operationKey]registry.Counters),
		hot:     make(map[operationKey]*atomic.Int64),
		full:    make(chan struct{}, 1),
		cancel:  cancel,
		done:    make(chan struct{}),
	}
	go r.run(ctx, interval)
	return r
}

func (r *reporter) run(ctx context.Context, interval time.Duration) {
	defer close(r.done)
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-r.full:
		}
		_ = r.flushInTime(ctx) // what could not be sent waits for the next time
	}
}

func (r *reporter) flushInTime(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	return r.flush(ctx)
}

// add counts what happened to an operation.
func (r *reporter) add(module, operation string, counters registry.Counters) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || operation == "" {
		return
	}
	key := operationKey{module, operation}
	_, known := r.pending[key]
	if !r.merge(key, counters) || known || r.failing {
		return
	}
	if len(r.pending) == reportOperations {
		select {
		case r.full <- struct{}{}:
		default: // it is being seen to
		}
	}
}

// hits returns a counter of the hits of an operation, for whoever has more of them than a lock can take.
func (r *reporter) hits(module, operation string) *atomic.Int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := operationKey{module, operation}
	counter, known := r.hot[key]
	if !known {
		counter = new(atomic.Int64)
		if len(r.hot) < reportOperations {
			r.hot[key] = counter
		}
	}
	return counter
}

// collect requires r.mu.
func (r *reporter) collect() {
	for key, counter := range r.hot {
		if n := counter.Swap(0); n > 0 && !r.merge(key, registry.Counters{Hits: n}) {
			counter.Add(n)
		}
	}
}

// merge requires r.mu. It says whether there was room.
func (r *reporter) merge(key operationKey, more registry.Counters) bool {
	counters, known := r.pending[key]
	if !known && len(r.pending) >= reportOperations {
		return false
	}
	counters.Hits += more.Hits
	counters.Misses += more.Misses
	counters.Stale += more.Stale
	counters.Errors += more.Errors
	r.pending[key] = counters
	return true
}

// flush sends all counts. What could not be sent is kept, and the last error returned. Of a module that fails, nothing
// more is sent.
func (r *reporter) flush(ctx context.Context) error {
	r.mu.Lock()
	r.collect()
	batch := r.pending
	r.pending = make(map[operationKey]registry.Counters, len(batch))
	r.mu.Unlock()

	var failure error
	failed, inARow := map[string]bool{}, 0
	for key, counters := range batch {
		err := cmp.Or(ctx.Err(), failure)
		if !failed[key.module] && inARow < reportFailures && ctx.Err() == nil {
			if err = r.send(ctx, key.module, key.operation, counters); err == nil {
				inARow = 0
				continue
			}
			failed[key.module] = true
			inARow++
		}
		failure = err
		r.keep(key, counters)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failing = failure != nil
	return failure
}

func (r *reporter) keep(key operationKey, counters registry.Counters) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.merge(key, counters)
}

// close ends the goroutine and sends what is left.
func (r *reporter) close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	select {
	case <-r.done:
		return r.flush(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}
