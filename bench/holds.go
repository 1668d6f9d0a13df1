// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !noholds

package main

import (
	"context"
	"runtime"
	"slices"
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
	scale    scale
	registry *registry.Registry
	client   *redis.Client
	floor    *floor
	holds    []registry.HoldID // of the entries of a lap
}

// newHolder uses one server for all calls. The time that a call waits depends on whether the cores
// are awake, which must not differ between what is compared.
func newHolder(ctx context.Context, l *lab, s scale) (*holder, error) {
	client, err := l.freshClient(ctx)
	if err != nil {
		return nil, err
	}
	r, err := install(ctx, client)
	if err != nil {
		return nil, err
	}
	f, err := newFloor(ctx, client)
	return &holder{
		scale: s, registry: r, client: client, floor: f,
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
	return h.client.Set(ctx, plainKey(id(i)), h.scale.payload, entryTTL).Err()
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

// turn has the latencies of the calls of a lap, in µs.
type turn struct{ set, hold, release, empty, holdCommands, releaseCommands []float64 }

// kind is a call that a lap makes for each entry.
type kind struct {
	latencies *[]float64
	call      func(ctx context.Context, i int) error
}

// round fills entries, and then makes all calls for one after the other. So the machine is in the
// same state for all kinds. A SET comes before each hold, or after its release.
func (h *holder) round(ctx context.Context, setFirst bool) (t turn, err error) {
	if err = h.fill(ctx); err != nil {
		return t, err
	}
	ours := []kind{{&t.hold, h.hold}, {&t.release, h.release}}
	others := []kind{
		{&t.set, h.set},
		{&t.empty, h.floor.call("bench_empty")},
		{&t.holdCommands, h.floor.call("bench_hold")},
		{&t.releaseCommands, h.floor.call("bench_release")},
	}
	kinds := slices.Concat(ours, others)
	if setFirst {
		kinds = slices.Concat(others, ours)
	}
	runtime.GC() // the garbage of the round before does not count
	for i := range h.holds {
		for _, k := range kinds {
			began := time.Now()
			if err := k.call(ctx, i); err != nil {
				return t, err
			}
			*k.latencies = append(*k.latencies, micros(time.Since(began)))
		}
	}
	return t, nil
}

// holdFigures has the median of each round.
type holdFigures struct{ set, hold, release, empty, holdCommands, releaseCommands []float64 }

func (f *holdFigures) add(t turn) {
	for _, of := range []struct{ all, one *[]float64 }{
		{&f.set, &t.set},
		{&f.hold, &t.hold},
		{&f.release, &t.release},
		{&f.empty, &t.empty},
		{&f.holdCommands, &t.holdCommands},
		{&f.releaseCommands, &t.releaseCommands},
	} {
		*of.all = append(*of.all, median(*of.one))
	}
}

// holds adds the rows of a hold and its release, and of what Redis takes for such calls without
// their logic.
func (b *bench) holds(ctx context.Context, l *lab) error {
	h, err := newHolder(ctx, l, b.scale)
	if err != nil {
		return err
	}
	var f holdFigures
	for round := -1; round < b.rounds; round++ { // the first round warms up
		t, err := h.round(ctx, round%2 == 0)
		if err != nil {
			return err
		}
		if round >= 0 {
			f.add(t)
		}
	}
	b.addHold(holdRow, f.hold, f.set)
	b.addHold(releaseRow, f.release, f.set)
	b.addHold(emptyCallRow, f.empty, f.set)
	b.addHold(holdCommandsRow, f.holdCommands, f.set)
	b.addHold(releaseCommandsRow, f.releaseCommands, f.set)
	return nil
}

func (b *bench) addHold(name string, p50s, ofSet []float64) {
	b.add(result{
		Name: name, Goroutines: 1, P50Micros: tenths(median(p50s)),
		P50ToPlainSet: hundredths(medianRatio(p50s, ofSet)),
	})
}

// servedHolds makes rows of the time that a hold and its release take.
func servedHolds(ctx context.Context, l *lab, s scale) ([]measurement, error) {
	h, err := newHolder(ctx, l, s)
	take := func(pick func(turn) []float64) func(context.Context) (float64, error) {
		return func(ctx context.Context) (float64, error) {
			t, err := h.round(ctx, true)
			return median(pick(t)), err
		}
	}
	return []measurement{
		{turns.Row{Name: holdRow}, take(func(t turn) []float64 { return t.hold })},
		{turns.Row{Name: releaseRow}, take(func(t turn) []float64 { return t.release })},
	}, err
}
