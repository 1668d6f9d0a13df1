// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"math"

	"github.com/cachewright/cachewright/bench/internal/inturn"
	"github.com/cachewright/cachewright/bench/internal/medians"
)

// measure returns the median time of a call of each subject, in µs, for each round.
func measure(ctx context.Context, subjects []subject, s scale) (map[string][]float64, error) {
	calls := make([]inturn.Subject, len(subjects))
	for i, of := range subjects {
		calls[i] = of.Subject
	}
	return inturn.Rounds(s.rounds, func(int) (map[string]float64, error) {
		return inturn.Round(ctx, calls, s.calls)
	})
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
		r := row{Name: s.Name, P50Micros: rounded(medians.Of(times[s.Name]), 10), To: s.to}
		if s.to != "" {
			r.TimeTo = rounded(medians.Ratio(times[s.Name], times[s.to]), 1000)
		}
		rows = append(rows, r)
	}
	return rows
}

func rounded(f, parts float64) float64 { return math.Round(f*parts) / parts }
