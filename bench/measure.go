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
	// CPU of an operation. It hardly depends on what else the machine does.
	clientMicros []float64
	redisMicros  []float64
}

const (
	maxGoroutines = 64
	// Reading the clock costs as much as a hit in process: only one operation in so many is timed.
	timedEvery = 8
)

// compare lets the subjects take turns, in an order that is reversed with each round, so that whatever else
// the machine does hits all of them alike.
func compare(ctx context.Context, l *lab, subjects []*subject, goroutines, rounds int, lap time.Duration) (map[string]*figures, error) {
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
			ran, err := l.runLap(ctx, s, goroutines, length)
			if err != nil {
				return nil, fmt.Errorf("%s by %d goroutines: %w", s.name, goroutines, err)
			}
			if round >= 0 {
				all[s.name].add(ran)
			}
		}
		subjects = slices.Clone(subjects)
		slices.Reverse(subjects)
	}
	return all, nil
}

// lap is what came of one.
type lap struct {
	ops           int
	took          time.Duration
	p50Micros     float64
	client, redis time.Duration // CPU
}

func (f *figures) add(ran lap) {
	f.opsPerSec = append(f.opsPerSec, float64(ran.ops)/ran.took.Seconds())
	f.p50Micros = append(f.p50Micros, ran.p50Micros)
	f.clientMicros = append(f.clientMicros, micros(ran.client)/float64(ran.ops))
	f.redisMicros = append(f.redisMicros, micros(ran.redis)/float64(ran.ops))
}

// runLap also says what CPU it took.
func (l *lab) runLap(ctx context.Context, s *subject, goroutines int, length time.Duration) (lap, error) {
	runtime.GC() // nobody pays for another's garbage
	redisBefore, err := l.redisCPU(ctx)
	if err != nil {
		return lap{}, err
	}
	clientBefore := ownCPU()
	ran, err := runAll(ctx, s, goroutines, length)
	if err != nil {
		return lap{}, err
	}
	ran.client = ownCPU() - clientBefore
	redisAfter, err := l.redisCPU(ctx)
	ran.redis = redisAfter - redisBefore
	return ran, err
}

func runAll(ctx context.Context, s *subject, goroutines int, length time.Duration) (ran lap, err error) {
	var (
		wg        sync.WaitGroup
		mu        sync.Mutex
		latencies []float64
		began     = time.Now()
	)
	for worker := range goroutines {
		wg.Go(func() {
			own, ops, ownErr := work(ctx, s, began.Add(length), worker)
			mu.Lock()
			defer mu.Unlock()
			latencies, ran.ops = append(latencies, own...), ran.ops+ops
			if err == nil {
				err = ownErr
			}
		})
	}
	wg.Wait()
	ran.took, ran.p50Micros = time.Since(began), median(latencies)
	return ran, err
}

func work(ctx context.Context, s *subject, until time.Time, worker int) (latencies []float64, ops int, err error) {
	ctx, cancel := context.WithCancel(ctx) // one of its own, as requests have: else they would meet at its lock
	defer cancel()
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
