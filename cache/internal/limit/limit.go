// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package limit lets a loader say for how long what it loads may be kept.
package limit

import (
	"context"
	"sync"
	"time"
)

// TTL bounds how long what is being loaded is kept. A nil TTL bounds nothing.
type TTL struct {
	mu    sync.Mutex
	is    time.Duration
	isSet bool
}

type key struct{}

// With returns the context for a load, and what the loader sets with it. A load within another load
// gets its own.
func With(ctx context.Context) (context.Context, *TTL) {
	t := &TTL{}
	return context.WithValue(ctx, key{}, t), t
}

// Lower bounds what is loaded with this context, which need not be that of a load. Of several
// bounds, the lowest counts.
func Lower(ctx context.Context, ttl time.Duration) {
	t, _ := ctx.Value(key{}).(*TTL)
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.isSet || ttl < t.is {
		t.is, t.isSet = ttl, true
	}
}

// Get returns the bound, 0 for none. forbids says that nothing may be kept: Redis counts in
// milliseconds.
func (t *TTL) Get() (ttl time.Duration, forbids bool) {
	if t == nil {
		return 0, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.is, t.isSet && t.is < time.Millisecond
}
