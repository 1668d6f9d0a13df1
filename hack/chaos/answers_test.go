// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/cachewright/cachewright/cache"
)

// answers counts the reads that Redis and near caches answered, as the clients report them.
type answers struct {
	redis, memory atomic.Int64

	mu      sync.Mutex
	figures []func() cache.Figures
}

// queued is the number of invalidations and releases that have not reached Redis yet.
func (a *answers) queued() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, figures := range a.figures {
		n += figures().QueuedInvalidations
	}
	return n
}

// atLeast reports whether both counts are reached.
func (a *answers) atLeast(redis, memory int64) bool {
	return a.redis.Load() >= redis && a.memory.Load() >= memory
}

func (a *answers) count(outcome cache.Outcome, _ error) {
	switch outcome {
	case cache.OutcomeHit, cache.OutcomeStale:
		a.redis.Add(1)
	case cache.OutcomeNearHit:
		a.memory.Add(1)
	}
}

// StartRequest implements cache.Observer.
func (a *answers) StartRequest(ctx context.Context, _ cache.Request) (context.Context, func(cache.Outcome, error)) {
	return ctx, a.count
}

// Watch implements cache.Observer. Clients stay watched after their end.
func (a *answers) Watch(_ string, figures func() cache.Figures) func() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.figures = append(a.figures, figures)
	return func() {}
}

// StartLoad implements cache.Observer. It counts nothing, like the methods below.
func (*answers) StartLoad(ctx context.Context, _, _ string) (context.Context, func(error)) {
	return ctx, func(error) {}
}

// StartInvalidation implements cache.Observer.
func (*answers) StartInvalidation(ctx context.Context, _ cache.Invalidation) (context.Context, func(error)) {
	return ctx, func(error) {}
}

// Filled implements cache.Observer.
func (*answers) Filled(context.Context, string, string, cache.Fill) {}

// Audited implements cache.Observer.
func (*answers) Audited(context.Context, string, string, cache.AuditResult) {}
