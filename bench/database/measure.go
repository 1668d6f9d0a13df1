// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"
)

// measure returns the median time of a call of each subject, in µs, for each round. Calls take
// turns one by one, so that the machine is in the same state for all.
func measure(ctx context.Context, subjects []subject, s scale) (map[string][]float64, error) {
	times := map[string][]float64{}
	for round := -1; round < s.rounds; round++ { // the first round warms up
		runtime.GC() // the garbage of the round before does not count
		of, err := measureRound(ctx, subjects, s.calls)
		if err != nil {
			return nil, err
		}
		for name, latencies := range of {
			if round >= 0 {
				times[name] = append(times[name], median(latencies))
			}
		}
	}
	return times, nil
}

func measureRound(
	ctx context.Context, subjects []subject, calls int,
) (map[string][]float64, error) {
	latencies := map[string][]float64{}
	for n := range calls {
		for _, s := range subjects {
			ctx := ctx
			if s.hits {
				ctx = context.WithValue(ctx, ofCached{}, true)
			}
			began := time.Now()
			if err := s.call(ctx, n); err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			took := float64(time.Since(began).Nanoseconds()) / 1000
			latencies[s.name] = append(latencies[s.name], took)
		}
	}
	return latencies, nil
}

// row is one line of figures. Figures that do not apply to it are left out.
type row struct {
	Name      string  `json:"name"`
	P50Micros float64 `json:"p50Micros"`
	// TimeTo is how many times as long a call takes as one of To.
	TimeTo float64 `json:"timeTo,omitempty"`
	To     string  `json:"to,omitempty"`
}

// rows rates the subjects. A ratio is the median of the rounds' ratios.
func rows(subjects []subject, times map[string][]float64) (rows []row) {
	for _, s := range subjects {
		r := row{Name: s.name, P50Micros: rounded(median(times[s.name]), 10), To: s.to}
		if s.to != "" {
			ratios := make([]float64, len(times[s.name]))
			for i, took := range times[s.name] {
				ratios[i] = took / times[s.to][i]
			}
			r.TimeTo = rounded(median(ratios), 1000)
		}
		rows = append(rows, r)
	}
	return rows
}

func rounded(f, parts float64) float64 { return math.Round(f*parts) / parts }

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(values))[len(values)/2]
}
