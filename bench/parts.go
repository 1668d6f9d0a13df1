// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/cachewright/cachewright/bench/internal/medians"
)

// bench collects results. Each part runs in its own lab.
type bench struct {
	scale

	results []result
}

func (b *bench) add(r result) { b.results = append(b.results, r) }

// throughput adds two rows for each subject: by many goroutines, and by one.
func (b *bench) throughput(
	ctx context.Context, l *lab, subjects []*subject, rate func(r *result, of *figures,
		all map[string]*figures),
) error {
	for _, goroutines := range []int{maxGoroutines, 1} {
		all, err := compare(ctx, l, subjects, goroutines, b.rounds, b.lap)
		if err != nil {
			return err
		}
		for _, s := range subjects {
			of := all[s.name]
			r := throughputRow(s.name, goroutines, of)
			if goroutines == 1 {
				r.Name += "-1"
			}
			rate(&r, of, all)
			b.add(r)
		}
	}
	return nil
}

func throughputRow(name string, goroutines int, of *figures) result {
	return result{
		Name: name, Goroutines: goroutines, OpsPerSec: round(medians.Of(of.opsPerSec)),
		P50Micros:    tenths(medians.Of(of.p50Micros)),
		ClientMicros: hundredths(medians.Of(of.clientMicros)),
		RedisMicros:  hundredths(medians.Of(of.redisMicros)),
	}
}

func toPlainGet(r *result, of *figures, all map[string]*figures) {
	r.RatioToPlainGet = hundredths(ratio(of, all["plain-get"]))
}

func (b *bench) reads(ctx context.Context, l *lab) error {
	subjects, err := subjectsOf(ctx, l, b.scale, networkReaders)
	if err != nil {
		return err
	}
	return b.throughput(ctx, l, subjects, toPlainGet)
}

// nearReads measures plain GET again for the ratios only.
func (b *bench) nearReads(ctx context.Context, l *lab) error {
	subjects, err := subjectsOf(ctx, l, b.scale, nearReaders)
	if err != nil {
		return err
	}
	return b.without("plain-get", func() error { return b.throughput(ctx, l, subjects, toPlainGet) })
}

// without leaves out the rows of a subject that is measured again for the ratios only.
func (b *bench) without(subject string, measure func() error) error {
	before := len(b.results)
	if err := measure(); err != nil {
		return err
	}
	kept := b.results[:before]
	for _, r := range b.results[before:] {
		if r.Name != subject && r.Name != subject+"-1" {
			kept = append(kept, r)
		}
	}
	b.results = kept
	return nil
}

func (b *bench) fills(ctx context.Context, l *lab) error {
	subjects, err := writing(ctx, l, b.scale, fillWriters, func(n int) string {
		return id(n % b.keys)
	})
	if err != nil {
		return err
	}
	return b.throughput(ctx, l, subjects, func(r *result, of *figures, all map[string]*figures) {
		r.RatioToPlainSet = hundredths(ratio(of, all[plainSetRow]))
		r.RatioToGocacheSet = hundredths(ratio(of, all["gocache-set"]))
	})
}

func (b *bench) misses(ctx context.Context, l *lab) error {
	subjects, err := writing(ctx, l, b.scale, missWriters, id)
	if err != nil {
		return err
	}
	return b.throughput(ctx, l, subjects, func(r *result, of *figures, all map[string]*figures) {
		r.RatioToPlainGetAndSet = hundredths(ratio(of, all[plainMissRow]))
	})
}
