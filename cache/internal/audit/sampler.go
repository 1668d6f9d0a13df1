// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/cachewright/cachewright/cache/internal/operations"
)

const (
	// maxAudits bounds the audits that run in a process, and with them the load on the source.
	// Further hits are not audited.
	maxAudits = 4
	// maxAuditedOperations bounds the operations whose results are counted.
	maxAuditedOperations = 1000
)

// sampler chooses the hits that are audited, and counts the results. A nil sampler chooses none.
type sampler struct {
	rules   Rules
	largest float64       // of the shares
	running chan struct{} // holds an element for each audit

	mu     sync.Mutex
	counts map[operations.Operation]*Stats
}

func newSampler(rules Rules) *sampler {
	if len(rules) == 0 {
		return nil
	}
	s := &sampler{
		rules:   rules,
		running: make(chan struct{}, maxAudits),
		counts:  make(map[operations.Operation]*Stats),
	}
	for _, rule := range rules {
		s.largest = max(s.largest, rule.Share)
	}
	return s
}

// draw returns the rule by which a hit must be audited, or nil. For most hits it takes one random
// number.
func (s *sampler) draw(operation operations.Operation) *Rule {
	if s == nil {
		return nil
	}
	drawn := rand.Float64()
	if drawn >= s.largest {
		return nil
	}
	for i, rule := range s.rules {
		if rule.Operations.Covers(operation) {
			if drawn < rule.Share {
				return &s.rules[i]
			}
			return nil
		}
	}
	return nil
}

// begin reports whether another audit may run. If so, it calls end.
func (s *sampler) begin() bool {
	select {
	case s.running <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s *sampler) end() { <-s.running }

func (s *sampler) count(operation operations.Operation, result Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats, known := s.counts[operation]
	if !known {
		if len(s.counts) >= maxAuditedOperations {
			return
		}
		stats = &Stats{Operation: operation}
		s.counts[operation] = stats
	}
	switch result {
	case Consistent:
		stats.Consistent++
	case Inconsistent:
		stats.Inconsistent++
	case Inconclusive:
		stats.Inconclusive++
	}
}

// stats returns the counts, sorted by operation.
func (s *sampler) stats() []Stats {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Stats, 0, len(s.counts))
	for _, stats := range s.counts {
		all = append(all, *stats)
	}
	slices.SortFunc(all, func(a, b Stats) int {
		return cmp.Or(cmp.Compare(a.Module, b.Module), cmp.Compare(a.Name, b.Name))
	})
	return all
}
