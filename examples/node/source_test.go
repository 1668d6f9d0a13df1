// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package node_test

import (
	"net/http"
	"sync"
)

// source is the service that the Node program caches. It gives every path the same answer.
type source struct {
	mu      sync.Mutex
	answer  []byte // nil: there is nothing
	broken  bool
	asked   int
	loading chan struct{} // closed when a load is held; nil: none is held
	goOn    chan struct{}
}

func (s *source) reset() {
	s.set([]byte("from the source"))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked, s.loading = 0, nil
}

func (s *source) set(answer []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer, s.broken = answer, false
}

func (s *source) fail() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = true
}

func (s *source) loads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// hold makes the next load wait, once it has closed loading, for a call of goOn.
func (s *source) hold() (loading <-chan struct{}, goOn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loading, s.goOn = make(chan struct{}), make(chan struct{})
	release := s.goOn
	return s.loading, func() { close(release) }
}

func (s *source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked++
	loading, goOn := s.loading, s.goOn
	s.loading = nil
	s.mu.Unlock()
	if loading != nil {
		close(loading)
		select {
		case <-goOn:
		case <-r.Context().Done():
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.broken:
		http.Error(w, "broken", http.StatusInternalServerError)
	case s.answer == nil:
		http.NotFound(w, r)
	default:
		_, _ = w.Write(s.answer)
	}
}
