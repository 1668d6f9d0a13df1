// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package turns has what two builds say to each other's judge while they take turns: the rows that a build can measure, and
// the figure of one turn.
package turns

import (
	"fmt"
	"math"
	"slices"
)

// Row is what a build can measure on request.
type Row struct {
	Name           string `json:"name"`
	HigherIsBetter bool   `json:"higherIsBetter,omitempty"`
	// Samples is how many turns to take; 0: as many as there are rounds.
	Samples int `json:"samples,omitempty"`
}

// Figure is the answer to one request.
type Figure struct {
	Value float64 `json:"value"`
}

// Verdict compares the turns of a row. Ratios are medians of what the rounds say; above 1 is better.
type Verdict struct {
	Row
	// ToReference is the new build to the reference, Noise the reference to itself.
	ToReference, Noise float64
}

// Judge compares what three builds measured in the same rounds: the new one, the reference, and the reference again.
func Judge(row Row, candidate, reference, again []float64) (Verdict, error) {
	if len(candidate) == 0 || len(candidate) != len(reference) || len(reference) != len(again) {
		return Verdict{}, fmt.Errorf("%s: %d, %d and %d figures: each build must take as many turns", row.Name, len(candidate), len(reference), len(again))
	}
	return Verdict{Row: row, ToReference: row.ratio(candidate, reference), Noise: row.ratio(again, reference)}, nil
}

// Worse says whether the new build is worse than the reference by more than a share (0.05: 5 %), beyond what the
// reference shows against itself.
func (v Verdict) Worse(share float64) bool {
	return 1-v.ToReference > math.Abs(1-v.Noise)+share
}

func (r Row) ratio(of, to []float64) float64 {
	ratios := make([]float64, len(of))
	for i := range of {
		ratios[i] = quotient(of[i], to[i])
		if !r.HigherIsBetter {
			ratios[i] = quotient(to[i], of[i])
		}
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

// quotient of two figures; where both are 0 they are alike.
func quotient(a, b float64) float64 {
	if a == b {
		return 1
	}
	return a / b
}
