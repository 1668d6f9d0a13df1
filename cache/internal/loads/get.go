// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package loads

import (
	"context"
	"errors"
	"time"

	"github.com/cachewright/cachewright/cache/internal/codec"
	"github.com/cachewright/cachewright/cache/internal/dest"
	"github.com/cachewright/cachewright/cache/internal/flight"
	"github.com/cachewright/cachewright/cache/internal/source"
	"github.com/cachewright/cachewright/registry"
)

// Get loads entries for a caller, together with other callers that may have the same values. It
// calls load once for all that this caller is to load, and waits for the loads of others after
// that. What a hold forbids to store has a load of its own.
func (s *Loads) Get(ctx context.Context, misses []*Miss, load source.Many) {
	var held, unheld []*Miss
	for _, m := range misses {
		if m.Lookup.Held > 0 {
			held = append(held, m)
		} else {
			unheld = append(unheld, m)
		}
	}
	s.getShared(ctx, unheld, load)
	s.getHeld(ctx, held, load)
	var alone []*Miss
	for _, m := range misses {
		if m.alone {
			alone = append(alone, m)
		}
	}
	s.getAlone(ctx, alone, load)
}

// getShared joins the loads of other callers, or begins one that they may join.
func (s *Loads) getShared(ctx context.Context, misses []*Miss, load source.Many) {
	if !anyCacheable(misses) {
		for _, m := range misses {
			m.alone = true
		}
		return
	}
	wanted := make([]flight.Wanted[flightKey], len(misses))
	jobs := make([]*job, len(misses))
	for i, m := range misses {
		jobs[i] = newJob(m)
		if !m.Lookup.Cacheable {
			wanted[i].Alone = true
			continue
		}
		wanted[i].Key = flightKey{m.Key, headsOf(m.Lookup.Token)}
		s.lease(ctx, jobs[i], s.handovers.enter(wanted[i].Key))
	}
	defer s.leave(ctx, wanted, jobs)
	results := s.flights.DoMany(ctx, wanted,
		func(ctx context.Context, own []int, land func(int, loaded, error)) {
			s.run(ctx, chosen(jobs, own, land), load)
		})
	for i, m := range misses {
		s.land(m, results[i])
	}
}

func anyCacheable(misses []*Miss) bool {
	for _, m := range misses {
		if m.Lookup.Cacheable {
			return true
		}
	}
	return false
}

// lease gives a job the right to fill its entry, as far as the caller has it.
func (s *Loads) lease(ctx context.Context, j *job, locks *handover) {
	leased := j.miss.Lookup
	j.fills, j.locks, j.lease = true, locks, leased
	j.until = time.Now().Add(s.waiter.limit(ctx, leased.Wait))
	if s.waiter.isLocked(leased) {
		locks.offer(leased)
	}
}

// leave ends what enter began, and releases locks that came too late for the load.
func (s *Loads) leave(ctx context.Context, wanted []flight.Wanted[flightKey], jobs []*job) {
	var left []registry.Key
	for i, j := range jobs {
		if j.fills && s.handovers.leave(wanted[i].Key, j.locks) {
			left = append(left, j.miss.Key)
		}
	}
	s.unlock(ctx, left)
}

// getHeld gets values that a hold forbids to store. The source may change at any moment, and no
// heads say when. So callers share only a load that began after they came. Redis says that an entry
// is held only if the policy would cache it, so it is the same for all callers.
func (s *Loads) getHeld(ctx context.Context, misses []*Miss, load source.Many) {
	if len(misses) == 0 {
		return
	}
	keys, jobs := make([]registry.Key, len(misses)), make([]*job, len(misses))
	for i, m := range misses {
		keys[i], jobs[i] = m.Key, newJob(m)
	}
	results := s.held.DoMany(ctx, keys,
		func(ctx context.Context, own []int, land func(int, loaded, error)) {
			mine := chosen(jobs, own, land)
			s.load(ctx, mine, load)
			for _, j := range mine {
				if j.err == nil {
					s.encode(j)
					j.result.shared = j.result.payload != nil
				}
				j.end()
			}
		})
	for i, m := range misses {
		s.land(m, results[i])
	}
}

// land gives a caller the result of a load, or has it load for itself.
func (s *Loads) land(m *Miss, r flight.Result[loaded]) {
	switch {
	case r.Err == nil && r.Started && !r.Value.foreign:
		m.Err = dest.Set(m.Out, r.Value.value)
	case errors.Is(r.Err, flight.ErrNothingToShare), errors.Is(r.Err, flight.ErrCycle):
		m.alone = true
	case errors.Is(r.Err, flight.ErrStuck):
		m.Err = s.Stuck(m.Key)
	case r.Err != nil:
		m.Err = r.Err
	default:
		m.alone = !r.Value.shared || !s.decode(m.Key, r.Value.payload, m.Out)
	}
}

func (s *Loads) decode(key registry.Key, payload []byte, out any) bool {
	err := codec.Decode(s.config.Codec, payload, out)
	if err != nil {
		s.config.Failures.Add(key.Module, key.Operation, err)
	}
	return err == nil
}

// getAlone does what the application would do without a cache. Callers without a token end here:
// they cannot know whether a load under way began before an invalidation. Nor can they know whether
// an operation that is not cached may be done once for two callers.
func (s *Loads) getAlone(ctx context.Context, misses []*Miss, load source.Many) {
	if len(misses) == 0 {
		return
	}
	jobs := make([]*job, len(misses))
	for i, m := range misses {
		jobs[i] = newJob(m)
	}
	s.load(ctx, jobs, load)
	for _, j := range jobs {
		if j.miss.Err = j.err; j.err == nil {
			j.miss.Err = dest.Set(j.miss.Out, j.result.value)
		}
	}
}
