// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package loads

import (
	"context"
	"sync"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// handovers pass load locks on within the process. Redis gives the lock of an entry to one caller.
// Another caller may already load for all, or wait for the lock. Without a handover it would wait
// for a lock that this process has.
type handovers struct {
	mu    sync.Mutex
	byKey map[flightKey]*handover
}

// handover is that of a shared load. A nil handover passes nothing on.
type handover struct {
	callers int                  // guarded by handovers.mu
	leases  chan registry.Lookup // at most one, with the load lock
}

// enter returns the handover of a shared load. Call leave at the end.
func (h *handovers) enter(key flightKey) *handover {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.byKey[key]
	if at == nil {
		if h.byKey == nil {
			h.byKey = make(map[flightKey]*handover)
		}
		at = &handover{leases: make(chan registry.Lookup, 1)}
		h.byKey[key] = at
	}
	at.callers++
	return at
}

// leave reports whether the last caller leaves a lock that nobody took.
func (h *handovers) leave(key flightKey, at *handover) (left bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at.callers--
	if at.callers > 0 {
		return false
	}
	delete(h.byKey, key)
	_, left = at.take()
	return left
}

// offer passes on a lease with the load lock. It replaces a former one, whose lock has ended.
func (h *handover) offer(lease registry.Lookup) {
	for {
		select {
		case h.leases <- lease:
			return
		default:
			h.take()
		}
	}
}

// take returns the lease that was offered, if there is one.
func (h *handover) take() (lease registry.Lookup, found bool) {
	if h == nil {
		return registry.Lookup{}, false
	}
	select {
	case lease = <-h.leases:
		return lease, true
	default:
		return registry.Lookup{}, false
	}
}

// await waits for so long, or until ctx ends, or a lease is offered, which it returns.
func (h *handover) await(ctx context.Context, d time.Duration) (lease registry.Lookup, found bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case lease = <-h.leases:
		return lease, true
	case <-timer.C:
	case <-ctx.Done():
	}
	return registry.Lookup{}, false
}
