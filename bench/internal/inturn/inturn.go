// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package inturn times calls that take turns one by one. So the machine is in the same state for
// all kinds of calls: a core that sleeps between them sleeps for all.
package inturn

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/cachewright/cachewright/bench/internal/medians"
)

// Subject is one kind of call. Calls of a round are numbered from 0.
type Subject struct {
	Name string
	Call func(ctx context.Context, n int) error
}

// Round makes so many calls of each subject, and returns the median of each, in µs.
func Round(ctx context.Context, subjects []Subject, calls int) (map[string]float64, error) {
	latencies := map[string][]float64{}
	runtime.GC() // the garbage of the round before does not count
	for n := range calls {
		for _, s := range subjects {
			began := time.Now()
			if err := s.Call(ctx, n); err != nil {
				return nil, fmt.Errorf("%s: %w", s.Name, err)
			}
			took := float64(time.Since(began).Nanoseconds()) / 1000
			latencies[s.Name] = append(latencies[s.Name], took)
		}
	}
	p50s := make(map[string]float64, len(latencies))
	for name, of := range latencies {
		p50s[name] = medians.Of(of)
	}
	return p50s, nil
}

// Rounds repeats a round. It returns the medians of each subject by rounds, without those of the
// first round, which warms up.
func Rounds(
	rounds int, round func(n int) (map[string]float64, error),
) (map[string][]float64, error) {
	all := map[string][]float64{}
	for n := range rounds + 1 {
		p50s, err := round(n)
		if err != nil {
			return nil, err
		}
		for name, p50 := range p50s {
			if n > 0 {
				all[name] = append(all[name], p50)
			}
		}
	}
	return all, nil
}
