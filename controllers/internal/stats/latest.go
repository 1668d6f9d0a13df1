// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"sync"
	"time"
)

// latest is what a collector read last, and when it reads again. It is safe for concurrent use.
type latest[T any] struct {
	mu      sync.Mutex
	next    time.Time
	value   *T   // nil: not read yet
	dropped bool // the store is gone
}

func (l *latest[T]) get() *T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.value
}

func (l *latest[T]) isDue(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !now.Before(l.next)
}

// record keeps what was read. It calls publish unless the store is gone.
func (l *latest[T]) record(value *T, next time.Time, publish func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.value, l.next = value, next
	if !l.dropped {
		publish()
	}
}

// reset forgets what was read, and makes the next read due.
func (l *latest[T]) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.value, l.next = nil, time.Time{}
}

// drop calls withdraw. A read that still runs publishes nothing afterwards.
func (l *latest[T]) drop(withdraw func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped = true
	withdraw()
}
