// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package loads

import (
	"context"
	"errors"
	"time"

	"github.com/cachewright/cachewright/cache/internal/flight"
	"github.com/cachewright/cachewright/cache/internal/limit"
	"github.com/cachewright/cachewright/cache/internal/source"
	"github.com/cachewright/cachewright/registry"
)

// run loads entries and stores them. What another process loads comes last: that one may wait for
// what this process loads first.
func (s *Loads) run(ctx context.Context, jobs []*job, load source.Many) {
	ready, waiting := make([]*job, 0, len(jobs)), watch{pause: firstWait}
	for _, j := range jobs {
		if j.fills && !j.take() && time.Now().Before(j.until) {
			waiting.jobs = append(waiting.jobs, j)
		} else {
			ready = append(ready, j)
		}
	}
	s.loadAndFill(ctx, ready, load)
	for len(waiting.jobs) > 0 {
		s.loadAndFill(ctx, s.waiter.wait(ctx, &waiting), load)
	}
}

// loadAndFill loads values and stores those with a lease. It releases their load locks however the
// load ends.
func (s *Loads) loadAndFill(ctx context.Context, jobs []*job, load source.Many) {
	if len(jobs) == 0 {
		return
	}
	s.loadAndRelease(ctx, jobs, load)
	for _, j := range jobs {
		j.end()
	}
}

func (s *Loads) loadAndRelease(ctx context.Context, jobs []*job, load source.Many) {
	for _, j := range jobs {
		j.locked = j.locks != nil && s.waiter.isLocked(j.lease)
	}
	defer s.release(ctx, jobs)
	s.load(ctx, jobs, load)
	for _, j := range jobs {
		_, j.another = j.locks.take()
	}
	s.fill(ctx, jobs)
}

// release releases load locks. Redis releases the lock itself in a fill that it stores or fences. A
// lock that came after the fill began may have been given after that, so it is released here.
func (s *Loads) release(ctx context.Context, jobs []*job) {
	var held []registry.Key
	for _, j := range jobs {
		_, late := j.locks.take()
		released := j.locked && passed(j.outcome)
		if late || !released && (j.locked || j.another) {
			held = append(held, j.miss.Key)
		}
	}
	s.unlock(ctx, held)
}

// load calls the loader for all that it does not load already, over and over, within itself.
func (s *Loads) load(ctx context.Context, jobs []*job, load source.Many) {
	ctx, allowed := s.nested(ctx, jobs)
	if len(allowed) == 0 {
		return
	}
	at := make([]int, len(allowed))
	for i, j := range allowed {
		at[i] = j.miss.At
	}
	ctx, ttl := limit.With(ctx) // what is loaded is not what an outer loader loads
	began := time.Now()
	results := load.Load(ctx, at)
	took := time.Since(began)
	for i, j := range allowed {
		j.result.value, j.err, j.limit = results[i].Value, results[i].Err, ttl
		if j.fills || j.miss.Lookup.Held > 0 {
			s.took(j, took)
		}
	}
}

// took records how long a load took that did not fail.
func (s *Loads) took(j *job, took time.Duration) {
	key := j.miss.Key
	if j.err == nil {
		s.config.Took(key.Module, key.Operation, took)
	}
	if j.err == nil || errors.Is(j.err, source.ErrNotFound) {
		s.paces.took(key.Module, key.Operation, took)
	}
}

// nested returns the context for a loader, and which entries it may load. The others end with
// ErrCycle.
func (s *Loads) nested(ctx context.Context, jobs []*job) (context.Context, []*job) {
	ids := make([]any, 0, len(jobs))
	for _, j := range jobs {
		if !j.miss.Unnamed {
			ids = append(ids, nestedKey{s, j.miss.Key})
		}
	}
	if len(ids) == 0 {
		return ctx, jobs
	}
	within, may := flight.NestedMany(ctx, ids)
	allowed := make([]*job, 0, len(jobs))
	for _, j := range jobs {
		switch {
		case j.miss.Unnamed:
			allowed = append(allowed, j)
			continue
		case may[0]:
			allowed = append(allowed, j)
		default:
			j.err = s.cycle(j.miss.Key)
		}
		may = may[1:]
	}
	return within, allowed
}

// nestedKey names what is loaded, across all Clients.
type nestedKey struct {
	by  *Loads
	key registry.Key
}
