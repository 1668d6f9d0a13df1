// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package refresh

import (
	"sync"

	"github.com/cachewright/cachewright/registry"
)

// refreshes is the set of entries that this process refreshes, or just tried to.
type refreshes struct {
	mu      sync.Mutex
	known   map[registry.Key]struct{}
	running int
}

// begin returns the attempts that the caller must make, and says which these are. If there are any,
// the caller calls end and then forget.
func (r *refreshes) begin(attempts []*attempt, begins []bool) (begun []*attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running >= maxRefreshes {
		return nil
	}
	for i, a := range attempts {
		if _, known := r.known[a.Key]; known || len(r.known) >= maxKnownRefreshes {
			continue
		}
		if r.known == nil {
			r.known = make(map[registry.Key]struct{})
		}
		r.known[a.Key] = struct{}{}
		begins[i] = true
		begun = append(begun, a)
	}
	if len(begun) > 0 {
		r.running++
	}
	return begun
}

// end makes room for others. Those that have begun do not begin again before they are forgotten.
func (r *refreshes) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running--
}

func (r *refreshes) forget(attempts []*attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range attempts {
		if !a.forgotten { // another attempt may have begun
			a.forgotten = true
			delete(r.known, a.Key)
		}
	}
}
