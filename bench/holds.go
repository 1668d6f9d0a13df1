// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !noholds

package main

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/bench/internal/turns"
	"github.com/cachewright/cachewright/registry"
)

// Rows of holds. The reference of compare may be older than holds, and is then built without them.
const (
	holdRow    = "hold"
	releaseRow = "release"
	// holdTTL is longer than a lap.
	holdTTL = time.Minute
	// maxHolds is the number of entries that a lap holds, each once.
	maxHolds = 500
)

// holder holds and releases entries that are cached, one at a time.
type holder struct {
	lab      *lab
	scale    scale
	registry *registry.Registry
	plain    *redis.Client
	holds    []registry.HoldID // of the entries of a lap
}

func newHolder(ctx context.Context, l *lab, s scale) (*holder, error) {
	plain, err := l.freshClient(ctx)
	if err != nil {
		return nil, err
	}
	client, err := l.freshClient(ctx)
	if err != nil {
		return nil, err
	}
	r, err := install(ctx, client)
	return &holder{
		lab: l, scale: s, registry: r, plain: plain,
		holds: make([]registry.HoldID, min(maxHolds, s.keys)),
	}, err
}

// fill caches the entries of a lap.
func (h *holder) fill(ctx context.Context) error {
	token, err := leaseFor(ctx, h.registry, operation)
	if err != nil {
		return err
	}
	for i := range h.holds {
		key := entry(operation, id(i))
		if err := fill(ctx, h.registry, key, h.scale.payload, token); err != nil {
			return err
		}
	}
	return nil
}

func (h *holder) set(ctx context.Context, i int) error {
	return h.plain.Set(ctx, plainKey(id(i)), h.scale.payload, entryTTL).Err()
}

func (h *holder) hold(ctx context.Context, i int) error {
	h.holds[i] = registry.NewHoldID()
	target := registry.HoldEntry(entry(operation, id(i)))
	_, err := h.registry.Hold(ctx, slot, h.holds[i], holdTTL, target)
	return err
}

func (h *holder) release(ctx context.Context, i int) error {
	target := registry.HoldEntry(entry(operation, id(i)))
	_, err := h.registry.Release(ctx, slot, h.holds[i], target)
	return err
}

// lap calls a function for each entry, and times each call.
func (h *holder) lap(
	ctx context.Context, call func(ctx context.Context, i int) error,
) (lap, error) {
	return h.lab.timed(ctx, func() (ran lap, err error) {
		latencies, began := make([]float64, len(h.holds)), time.Now()
		for i := range h.holds {
			callBegan := time.Now()
			if err := call(ctx, i); err != nil {
				return ran, err
			}
			latencies[i] = micros(time.Since(callBegan))
		}
		return lap{ops: len(latencies), took: time.Since(began), p50Micros: median(latencies)}, nil
	})
}

// turn is what a round measures: laps of as many calls each.
type turn struct{ set, hold, release lap }

// round holds and releases what is cached. The plain SET comes before that, or after it.
func (h *holder) round(ctx context.Context, setFirst bool) (t turn, err error) {
	if err = h.fill(ctx); err != nil {
		return t, err
	}
	steps := []struct {
		lap  *lap
		call func(ctx context.Context, i int) error
	}{{&t.set, h.set}, {&t.hold, h.hold}, {&t.release, h.release}}
	if !setFirst {
		steps = append(steps[1:], steps[0])
	}
	for _, step := range steps {
		if *step.lap, err = h.lap(ctx, step.call); err != nil {
			return t, err
		}
	}
	return t, nil
}

// holds adds the rows of a hold and its release. Their laps take turns with those of a plain SET.
func (b *bench) holds(ctx context.Context, l *lab) error {
	h, err := newHolder(ctx, l, b.scale)
	if err != nil {
		return err
	}
	sets, holds, releases := &figures{}, &figures{}, &figures{}
	for round := -1; round < b.rounds; round++ { // the first round warms up
		t, err := h.round(ctx, round%2 == 0)
		if err != nil {
			return err
		}
		if round >= 0 {
			sets.add(t.set)
			holds.add(t.hold)
			releases.add(t.release)
		}
	}
	b.addHold(holdRow, holds, sets)
	b.addHold(releaseRow, releases, sets)
	return nil
}

func (b *bench) addHold(name string, of, sets *figures) {
	r := throughputRow(name, 1, of)
	r.P50ToPlainSet = hundredths(p50Ratio(of, sets))
	b.add(r)
}

// servedHolds makes rows of the time that a hold and its release take.
func servedHolds(ctx context.Context, l *lab, s scale) ([]measurement, error) {
	h, err := newHolder(ctx, l, s)
	take := func(pick func(turn) lap) func(context.Context) (float64, error) {
		return func(ctx context.Context) (float64, error) {
			t, err := h.round(ctx, true)
			return pick(t).p50Micros, err
		}
	}
	return []measurement{
		{turns.Row{Name: holdRow}, take(func(t turn) lap { return t.hold })},
		{turns.Row{Name: releaseRow}, take(func(t turn) lap { return t.release })},
	}, err
}
