// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"sync"
	"time"
)

const (
	// slowAnswer is the average from which on a store counts as slow. A distant store takes a tenth
	// of it.
	slowAnswer = 250 * time.Millisecond
	// latencyWeight is how many of the last answers make up most of the average.
	latencyWeight = 4
)

// latency is the average time of a store's last answers.
type latency struct {
	mu      sync.Mutex
	average time.Duration
}

func (l *latency) add(took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.average += (took - l.average) / latencyWeight
}

func (l *latency) isSlow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.average >= slowAnswer
}
