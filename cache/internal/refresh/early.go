// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package refresh

import (
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// maxLoadTimes bounds the operations whose loads are timed. Entries of further ones are not
	// refreshed early.
	maxLoadTimes = 1000
	// loadTimeWeight is about how many loads the mean is taken of.
	loadTimeWeight = 8
	// maxTTL is the longest TTL in a policy.
	maxTTL = 720 * time.Hour
)

type timedOperation struct{ module, name string }

// HeadStarts say how long before its end an entry is refreshed, from how long loads take.
type HeadStarts struct {
	beta float64

	mu        sync.RWMutex
	loadTimes map[timedOperation]time.Duration // means
}

// NewHeadStarts returns HeadStarts for the beta of cache.WithEarlyRefresh. 0: entries are not
// refreshed early.
func NewHeadStarts(beta float64) *HeadStarts { return &HeadStarts{beta: beta} }

// Of returns how long before its end a reader treats an entry as ended. It is random, with an
// exponential distribution. See Optimal Probabilistic Cache Stampede Prevention, by Vattani,
// Chierichetti and Lowenstein, 2015. It is 0 where entries are not refreshed early.
func (h *HeadStarts) Of(module, operation string) time.Duration {
	if h.beta == 0 {
		return 0
	}
	scale := h.beta * float64(h.loadTime(timedOperation{module, operation}))
	return time.Duration(min(rand.ExpFloat64()*scale, float64(maxTTL)))
}

// Took records how long a load of an operation took, where that is needed.
func (h *HeadStarts) Took(module, operation string, took time.Duration) {
	if h.beta != 0 {
		h.add(timedOperation{module, operation}, took)
	}
}

func (h *HeadStarts) add(operation timedOperation, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	mean, known := h.loadTimes[operation]
	switch {
	case known:
		h.loadTimes[operation] = mean + (took-mean)/loadTimeWeight
	case len(h.loadTimes) < maxLoadTimes:
		if h.loadTimes == nil {
			h.loadTimes = make(map[timedOperation]time.Duration)
		}
		h.loadTimes[operation] = took
	}
}

func (h *HeadStarts) loadTime(operation timedOperation) time.Duration {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.loadTimes[operation]
}
