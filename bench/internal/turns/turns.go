// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package turns has the messages between benchmark builds and the program that compares them. A
// build sends the rows that it can measure, and then the figure of each turn.
package turns

import (
	"fmt"
	"math"
	"slices"
)

// Row is a row that a build can measure on request.
type Row struct {
	Name           string `json:"name"`
	HigherIsBetter bool   `json:"higherIsBetter,omitempty"`
	// Samples is the number of turns to take. 0 means one for each round.
	Samples int `json:"samples,omitempty"`
}

// Figure is the answer to one request.
type Figure struct {
	Value float64 `json:"value"`
}

// Comparison compares the turns of a row. Its ratios are medians over the rounds. Above 1
// is better.
type Comparison struct {
	Row
	// ToReference compares the new build with the reference, Noise the reference with itself.
	ToReference, Noise float64
}

// Compare compares the figures of three builds from the same rounds: the new one, and the reference
// twice.
func Compare(row Row, candidate, reference, again []float64) (Comparison, error) {
	if len(candidate) == 0 || len(candidate) != len(reference) || len(reference) != len(again) {
		return Comparison{}, fmt.Errorf("%s: %d, %d and %d figures: each build must take as many turns",
			row.Name, len(candidate), len(reference), len(again))
	}
	return Comparison{
		Row: row, ToReference: row.ratio(candidate, reference), Noise: row.ratio(again, reference),
	}, nil
}

// Worse reports whether the new build is worse than the reference by more than a share (0.05: 5 %)
// plus the noise of the reference.
func (c Comparison) Worse(share float64) bool {
	return 1-c.ToReference > math.Abs(1-c.Noise)+share
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

// quotient divides two figures. It returns 1 if both are 0.
func quotient(a, b float64) float64 {
	if a == b {
		return 1
	}
	return a / b
}
