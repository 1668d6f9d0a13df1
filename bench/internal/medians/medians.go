// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package medians has the middle of figures, which a moment of other work does not move.
package medians

import "slices"

// Of returns the median, or 0 of nothing.
func Of(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(values))[len(values)/2]
}

// Ratio returns the median of the rounds' ratios. Both have a figure of each round.
func Ratio(of, to []float64) float64 {
	ratios := make([]float64, len(of))
	for i := range ratios {
		ratios[i] = of[i] / to[i]
	}
	return Of(ratios)
}
