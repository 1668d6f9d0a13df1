// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

// subject is one way to do a thing, on a Redis of its own.
type subject struct {
	name string
	// do is called by many goroutines, with a number that no other call of the subject has.
	do func(ctx context.Context, n int) error

	next [maxGoroutines]int // for each goroutine, how often it has called
}

// figures of one subject over the rounds.
type figures struct {
	opsPerSec []float64
	p50Micros []float64
}

const (
	maxGoroutines = 64
	// Reading the clock costs as much as a hit in process: only one operation in so many is timed.
	timedEvery = 8
)

// compare lets the subjects take turns, in an order that is reversed with each round, so that whatever else
// the machine does hits all of them alike.
func compare(ctx context.Context, subjects []*subject, goroutines, rounds int, lap time.Duration) (map[string]*figures, error) {
	all := map[string]*figures{}
	for _, s := range subjects {
		all[s.name] = &figures{}
	}
	for round := -1; round < rounds; round++ { // the first one warms up
		for _, s := range subjects {
			length := lap
			if round < 0 {
				length = lap / 4
			}
			ops, p50, err := runLap(ctx, s, goroutines, length)
			if err != nil {
				return nil, fmt.Errorf("%s by %d goroutines: %w", s.name, goroutines, err)
			}
			if round >= 0 {
				all[s.name].opsPerSec = append(all[s.name].opsPerSec, ops)
				all[s.name].p50Micros = append(all[s.name].p50Micros, p50)
			}
		}
		subjects = slices.Clone(subjects)
		slices.Reverse(subjects)
	}
	return all, nil
}

func runLap(ctx context.Context, s *subject, goroutines int, lap time.Duration) (opsPerSec, p50Micros float64, err error) {
	runtime.GC() // nobody pays for another's garbage
	var (
		wg        sync.WaitGroup
		mu        sync.Mutex
		latencies []float64
		total     int
		began     = time.Now()
	)
	for worker := range goroutines {
		wg.Go(func() {
			own, ops, ownErr := work(ctx, s, began.Add(lap), worker)
			mu.Lock()
			defer mu.Unlock()
			latencies, total = append(latencies, own...), total+ops
			if err == nil {
				err = ownErr
			}
		})
	}
	wg.Wait()
	return float64(total) / time.Since(began).Seconds(), median(latencies), err
}

func work(ctx context.Context, s *subject, until time.Time, worker int) (latencies []float64, ops int, err error) {
	next := &s.next[worker]
	for {
		began := time.Now()
		if began.After(until) {
			return latencies, ops, nil
		}
		for i := range timedEvery {
			if err := s.do(ctx, worker+*next*maxGoroutines); err != nil {
				return latencies, ops, err
			}
			if i == 0 {
				latencies = append(latencies, micros(time.Since(began)))
			}
			*next++
			ops++
		}
	}
}

// ratio is the median of what the rounds say, each of which ran both within a second or two.
func ratio(of, to *figures) float64 {
	ratios := make([]float64, len(of.opsPerSec))
	for i := range ratios {
		ratios[i] = of.opsPerSec[i] / to.opsPerSec[i]
	}
	return median(ratios)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
