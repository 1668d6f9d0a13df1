// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/cachewright/cachewright/bench/internal/medians"
)

// subject is one thing to measure, with its own Redis.
type subject struct {
	name string
	// do is called by many goroutines. No two calls of a subject have the same number.
	do func(ctx context.Context, n int) error
	// entries is how many operations a call counts as. 0: one.
	entries int
	// beside, if set, begins what another client does during a lap, and returns what ends it.
	beside func() (stop func() error)

	next [maxGoroutines]int // the number of calls of each goroutine
}

// figures holds the results of one subject, one for each round.
type figures struct {
	opsPerSec []float64
	p50Micros []float64
	// CPU time of an operation. Other work on the machine hardly changes it.
	clientMicros []float64
	redisMicros  []float64
}

const (
	maxGoroutines = 64
	// Reading the clock takes as long as a hit in process, so only some operations are timed.
	timedEvery = 8
)

// compare lets the subjects take turns. Each round reverses the order, so that other work on the
// machine affects all of them equally.
func compare(
	ctx context.Context, l *lab, subjects []*subject, goroutines, rounds int, lap time.Duration,
) (map[string]*figures, error) {
	all := map[string]*figures{}
	for _, s := range subjects {
		all[s.name] = &figures{}
	}
	for round := -1; round < rounds; round++ { // the first round warms up
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

// lap is the result of one lap.
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

// runLap runs a lap and measures its CPU time.
func (l *lab) runLap(
	ctx context.Context, s *subject, goroutines int, length time.Duration,
) (lap, error) {
	return l.timed(ctx, func() (lap, error) {
		if s.beside == nil {
			return runAll(ctx, s, goroutines, length)
		}
		stop := s.beside()
		ran, err := runAll(ctx, s, goroutines, length)
		return ran, errors.Join(err, stop())
	})
}

// timed measures the CPU time of a lap.
func (l *lab) timed(ctx context.Context, run func() (lap, error)) (lap, error) {
	runtime.GC() // the garbage of the lap before does not count
	redisBefore, err := l.redisCPU(ctx)
	if err != nil {
		return lap{}, err
	}
	clientBefore := ownCPU()
	ran, err := run()
	if err != nil {
		return lap{}, err
	}
	ran.client = ownCPU() - clientBefore
	redisAfter, err := l.redisCPU(ctx)
	ran.redis = redisAfter - redisBefore
	return ran, err
}

func runAll(
	ctx context.Context, s *subject, goroutines int, length time.Duration,
) (ran lap, err error) {
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
	ran.ops *= max(1, s.entries)
	ran.took, ran.p50Micros = time.Since(began), medians.Of(latencies)
	return ran, err
}

func work(
	ctx context.Context, s *subject, until time.Time, worker int,
) (latencies []float64, ops int, err error) {
	// requests have their own, too; a shared one would be a shared lock
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next := &s.next[worker]
	for {
		began := time.Now()
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
		// On a busy machine, a goroutine may begin when the lap is over.
		if time.Now().After(until) {
			return latencies, ops, nil
		}
	}
}

// ratio returns the median of the rounds' ratios. In each round, both ran within seconds.
func ratio(of, to *figures) float64 { return medians.Ratio(of.opsPerSec, to.opsPerSec) }

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
