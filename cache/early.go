// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cachewright/cachewright/registry"
)

const (
	// maxLoadTimes bounds the operations whose loads are timed. Entries of further ones are not
	// refreshed early.
	maxLoadTimes = 1000
	// loadTimeWeight is about how many loads the mean is taken of.
	loadTimeWeight = 8
)

// headStarts says how long before its end an entry is refreshed, from how long loads take.
type headStarts struct {
	beta float64 // of WithEarlyRefresh; 0: entries are not refreshed early

	mu        sync.RWMutex
	loadTimes map[Operation]time.Duration // means
}

// headStart returns how long before its end a reader treats an entry as ended. It is random, with
// an exponential distribution. See Optimal Probabilistic Cache Stampede Prevention, by Vattani,
// Chierichetti and Lowenstein, 2015. It is 0 where entries are not refreshed early.
func (h *headStarts) headStart(module, operation string) time.Duration {
	if h.beta == 0 {
		return 0
	}
	scale := h.beta * float64(h.loadTime(Operation{module, operation}))
	return time.Duration(min(rand.ExpFloat64()*scale, float64(maxTTL)))
}

// timed returns a loader that records how long it takes, where that is needed.
func (h *headStarts) timed(key registry.Key, load loadFunc) loadFunc {
	if h.beta == 0 {
		return load
	}
	return func(ctx context.Context) (any, error) {
		began := time.Now()
		value, err := load(ctx)
		if err == nil {
			h.add(Operation{key.Module, key.Operation}, time.Since(began))
		}
		return value, err
	}
}

func (h *headStarts) add(operation Operation, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	mean, known := h.loadTimes[operation]
	switch {
	case known:
		h.loadTimes[operation] = mean + (took-mean)/loadTimeWeight
	case len(h.loadTimes) < maxLoadTimes:
		if h.loadTimes == nil {
			h.loadTimes = make(map[Operation]time.Duration)
		}
		h.loadTimes[operation] = took
	}
}

func (h *headStarts) loadTime(operation Operation) time.Duration {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.loadTimes[operation]
}
