// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package report adds up the counts of operations and sends them at intervals.
package report

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cachewright/cachewright/registry"
)

const (
	// maxOperations bounds the operations whose counts wait to be sent. The counts of further ones
	// are lost.
	maxOperations = 1000
	// flushTimeout bounds the sending of all of them.
	flushTimeout = 5 * time.Second
	// maxFailures ends a flush in which so many modules failed in a row: Redis is out of reach.
	maxFailures = 10
)

// Send sends the counts of one operation.
type Send func(ctx context.Context, module, operation string, counters registry.Counters) error

// Reporter adds up counts and sends them from a goroutine of its own.
type Reporter struct {
	send Send

	mu      sync.Mutex
	pending map[operation]registry.Counters
	hot     map[operation]*atomic.Int64
	closed  bool
	failing bool // the last flush failed at least in part, so the next one waits for the interval
	then    func(context.Context)

	full   chan struct{}
	cancel context.CancelFunc
	done   chan struct{}
}

type operation struct{ module, name string }

// New returns a Reporter that sends at intervals until it is closed.
func New(send Send, interval time.Duration) *Reporter {
	ctx, cancel := context.WithCancel(context.Background())
	r := &Reporter{
		send:    send,
		pending: make(map[operation]registry.Counters),
		hot:     make(map[operation]*atomic.Int64),
		full:    make(chan struct{}, 1),
		cancel:  cancel,
		done:    make(chan struct{}),
	}
	go r.run(ctx, interval)
	return r
}

func (r *Reporter) run(ctx context.Context, interval time.Duration) {
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
		inTime(ctx, func(ctx context.Context) {
			_ = r.Flush(ctx) // what could not be sent waits for the next flush
		})
		inTime(ctx, r.next())
	}
}

func inTime(ctx context.Context, do func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	do(ctx)
}

// Then sets what else is sent at each interval, after the counts, within five seconds.
func (r *Reporter) Then(send func(context.Context)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.then = send
}

func (r *Reporter) next() func(context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.then == nil {
		return func(context.Context) {}
	}
	return r.then
}

// Add adds to the counts of an operation. Counts without an operation are ignored.
func (r *Reporter) Add(module, name string, counters registry.Counters) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || name == "" {
		return
	}
	key := operation{module, name}
	_, known := r.pending[key]
	if !r.merge(key, counters) || known || r.failing {
		return
	}
	if len(r.pending) == maxOperations {
		select {
		case r.full <- struct{}{}:
		default: // a flush is due already
		}
	}
}

// Hits returns a counter of the hits of an operation. Use it where a lock for each hit would be too
// slow.
func (r *Reporter) Hits(module, name string) *atomic.Int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := operation{module, name}
	counter, known := r.hot[key]
	if !known {
		counter = new(atomic.Int64)
		if len(r.hot) < maxOperations {
			r.hot[key] = counter
		}
	}
	return counter
}

// collect moves the hot counts to the pending ones. It requires r.mu.
func (r *Reporter) collect() {
	for key, counter := range r.hot {
		if n := counter.Swap(0); n > 0 && !r.merge(key, registry.Counters{Hits: n}) {
			counter.Add(n)
		}
	}
}

// merge adds to the pending counts and reports whether there was room. It requires r.mu.
func (r *Reporter) merge(key operation, more registry.Counters) bool {
	counters, known := r.pending[key]
	if !known && len(r.pending) >= maxOperations {
		return false
	}
	counters.Hits += more.Hits
	counters.Misses += more.Misses
	counters.Stale += more.Stale
	counters.Errors += more.Errors
	r.pending[key] = counters
	return true
}

// Flush sends all counts. It keeps those that it could not send, and returns the last error. After
// a module has failed, it sends no more counts of that module.
func (r *Reporter) Flush(ctx context.Context) error {
	var failure error
	failed, inARow := map[string]bool{}, 0
	for key, counters := range r.take() {
		err := cmp.Or(ctx.Err(), failure)
		if !failed[key.module] && inARow < maxFailures && ctx.Err() == nil {
			if err = r.send(ctx, key.module, key.name, counters); err == nil {
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

// take returns the pending counts, which the Reporter forgets.
func (r *Reporter) take() map[operation]registry.Counters {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.collect()
	batch := r.pending
	r.pending = make(map[operation]registry.Counters, len(batch))
	return batch
}

func (r *Reporter) keep(key operation, counters registry.Counters) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.merge(key, counters)
}

// Close ends the goroutine and sends the remaining counts. It returns an error if ctx ends before
// that.
func (r *Reporter) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	select {
	case <-r.done:
		return r.Flush(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}
