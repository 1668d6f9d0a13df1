// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package loads

import (
	"sync"

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
	callers int // guarded by handovers.mu

	mu    sync.Mutex
	lease *registry.Lookup // with the load lock; nil: none is offered
	// offered tells who waits last that there is one. nil: nobody waits.
	offered chan<- struct{}
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
		at = &handover{}
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
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lease = &lease
	select {
	case h.offered <- struct{}{}:
	default: // nobody waits, or is told already
	}
}

// take returns the lease that was offered, if there is one.
func (h *handover) take() (lease registry.Lookup, found bool) {
	if h == nil {
		return registry.Lookup{}, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lease == nil {
		return registry.Lookup{}, false
	}
	lease, h.lease = *h.lease, nil
	return lease, true
}

// tell sets the channel on which offers are told. It has room for one.
func (h *handover) tell(offered chan<- struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.offered = offered
}

// flightKey names a shared load. It holds the heads of the lease as well as the entry. A caller
// that comes after an invalidation finds other heads, and so never joins a load that began before
// it.
type flightKey struct {
	registry.Key

	heads string
}

// headsOf returns the part of a token that is the same for all tokens between two invalidations.
// The first character of a token only says whether it came with the load lock.
func headsOf(token registry.Token) string {
	if token == "" {
		return ""
	}
	return string(token[1:])
}
