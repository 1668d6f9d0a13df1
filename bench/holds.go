// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !noholds

package main

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/bench/internal/inturn"
	"github.com/cachewright/cachewright/bench/internal/medians"
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

// round fills entries, and then makes all calls for one after the other. A SET comes before each
// hold, or after its release.
func (h *holder) round(ctx context.Context, setFirst bool) (map[string]float64, error) {
	if err := h.fill(ctx); err != nil {
		return nil, err
	}
	ours := []inturn.Subject{{Name: holdRow, Call: h.hold}, {Name: releaseRow, Call: h.release}}
	others := []inturn.Subject{
		{Name: plainSetRow, Call: h.set},
		{Name: emptyCallRow, Call: h.floor.call("bench_empty")},
		{Name: holdCommandsRow, Call: h.floor.call("bench_hold")},
		{Name: releaseCommandsRow, Call: h.floor.call("bench_release")},
	}
	subjects := slices.Concat(ours, others)
	if setFirst {
		subjects = slices.Concat(others, ours)
	}
	return inturn.Round(ctx, subjects, len(h.holds))
}

// holds adds the rows of a hold and its release, and of what Redis takes for such calls without
// their logic.
func (b *bench) holds(ctx context.Context, l *lab) error {
	h, err := newHolder(ctx, l, b.scale)
	if err != nil {
		return err
	}
	p50s, err := inturn.Rounds(b.rounds, func(n int) (map[string]float64, error) {
		return h.round(ctx, n%2 == 0)
	})
	if err != nil {
		return err
	}
	for _, name := range []string{
		holdRow, releaseRow, emptyCallRow, holdCommandsRow, releaseCommandsRow,
	} {
		b.add(result{
			Name: name, Goroutines: 1, P50Micros: tenths(medians.Of(p50s[name])),
			P50ToPlainSet: hundredths(medians.Ratio(p50s[name], p50s[plainSetRow])),
		})
	}
	return nil
}

// servedHolds makes rows of the time that a hold and its release take.
func servedHolds(ctx context.Context, l *lab, s scale) ([]measurement, error) {
	h, err := newHolder(ctx, l, s)
	take := func(name string) measurement {
		return measurement{turns.Row{Name: name}, func(ctx context.Context) (float64, error) {
			p50s, err := h.round(ctx, true)
			return p50s[name], err
		}}
	}
	return []measurement{take(holdRow), take(releaseRow)}, err
}
