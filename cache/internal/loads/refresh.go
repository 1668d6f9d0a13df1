// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package loads

import (
	"context"
	"errors"
	"time"

	"github.com/cachewright/cachewright/cache/internal/flight"
	"github.com/cachewright/cachewright/cache/internal/source"
	"github.com/cachewright/cachewright/registry"
)

// Refresh is an entry that is to be replaced.
type Refresh struct {
	Key   registry.Key
	Token registry.Token
	// At is where the loader knows it.
	At int
	// Err is set by Loads.Refresh.
	Err error
	// Gone, too: the source has nothing, and nothing of that was stored.
	Gone bool
}

// Refresh loads and stores entries with their tokens, unless callers load them already. Such a load
// reports its own failure.
func (s *Loads) Refresh(
	ctx context.Context, entries []*Refresh, remaining time.Duration, load source.Many,
) {
	wanted, jobs := make([]flight.Wanted[flightKey], len(entries)), make([]*job, len(entries))
	for i, r := range entries {
		wanted[i].Key = flightKey{r.Key, headsOf(r.Token)}
		m := &Miss{Key: r.Key, Remaining: remaining, At: r.At}
		jobs[i] = &job{miss: m, fills: true, lease: registry.Lookup{Token: r.Token}}
	}
	results := s.flights.DoMany(ctx, wanted,
		func(ctx context.Context, own []int, land func(int, loaded, error)) {
			s.loadAndFill(ctx, chosen(jobs, own, land), load)
		})
	for i, r := range entries {
		r.Err, r.Gone = nil, false
		switch err := results[i].Err; {
		case errors.Is(err, flight.ErrNothingToShare), errors.Is(err, flight.ErrOverdue),
			errors.Is(err, flight.ErrStuck):
		case errors.Is(err, source.ErrNotFound):
			r.Gone = results[i].Started && !results[i].Value.storedNegative
		default:
			r.Err = err
		}
	}
}
