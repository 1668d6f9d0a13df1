// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package loads

import (
	"sync"
	"time"
)

const (
	// quickLoad is how long a load takes at most for which no other process needs to wait. One that
	// waits would look for the first time when it is over.
	quickLoad = firstWait
	// maxPaces bounds the operations whose loads are timed. Those of further ones take leases.
	maxPaces = 1000
	// paceFades is the part of a longest load that each later one takes off.
	paceFades = 8
)

type pacedOperation struct{ module, name string }

// paces say how long loads of operations take. A slow one counts for some time.
type paces struct {
	mu      sync.RWMutex
	longest map[pacedOperation]time.Duration
}

// took records how long a load took.
func (p *paces) took(module, name string, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	operation := pacedOperation{module, name}
	longest, known := p.longest[operation]
	switch {
	case known:
		p.longest[operation] = max(took, longest-longest/paceFades)
	case len(p.longest) < maxPaces:
		if p.longest == nil {
			p.longest = make(map[pacedOperation]time.Duration)
		}
		p.longest[operation] = took
	}
}

// areQuick reports whether the last loads of an operation were quick. It is false if none is known.
func (p *paces) areQuick(module, name string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	longest, known := p.longest[pacedOperation{module, name}]
	return known && longest <= quickLoad
}

// NeedLock reports whether loads of an operation take so long that it pays to wait for those of
// other processes. That needs a load lock, and so a lease.
func (s *Loads) NeedLock(module, operation string) bool {
	return s.waiter.loadWait > 0 && !s.paces.areQuick(module, operation)
}
