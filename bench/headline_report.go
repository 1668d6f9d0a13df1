// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/bench/internal/medians"
)

// headline has the five figures that precise invalidation is known for, beside those of clearing
// everything at each write.
type headline struct {
	HitPercent      float64 `json:"hitPercent"`
	ClearingPercent float64 `json:"clearingHitPercent"`
	// FalseInvalidations were noticed by a later read.
	FalseInvalidations         int     `json:"falseInvalidations"`
	ClearingFalseInvalidations int     `json:"clearingFalseInvalidations"`
	FewerFalsePercent          float64 `json:"fewerFalsePercent"`
	// ProfileKeys end when a profile changes.
	ProfileKeys         int `json:"profileKeys"`
	ClearingProfileKeys int `json:"clearingProfileKeys"`
	// LessMemoryPercent is what expiry saves beside a cache that keeps what has expired.
	LessMemoryPercent float64 `json:"lessMemoryPercent"`
	// KeysLeft when everything has expired, beside what a module has without entries.
	KeysLeft int `json:"keysLeft"`
	// Growth is how many times as long an invalidation takes among ten times as many keys.
	Growth         float64 `json:"growth"`
	ClearingGrowth float64 `json:"clearingGrowth"`
}

const (
	// headlineKeys are cached when a profile changes, and for Growth also headlineMore times as many.
	headlineKeys = 1247
	headlineMore = 10
	// headlineEnd bounds how long keys may remain after the last read.
	headlineEnd = 30 * time.Second
)

func (b *bench) headline(ctx context.Context, l *lab) error {
	h := &headline{}
	if err := h.replay(ctx, l, b.scale); err != nil {
		return err
	}
	if err := h.invalidate(ctx, l, b.scale); err != nil {
		return err
	}
	b.add(result{Name: "headline", headline: h})
	return nil
}

// replay measures hits, false invalidations, memory, and what remains at the end.
func (h *headline) replay(ctx context.Context, l *lab, s scale) error {
	var clients []*redis.Client
	for range 3 {
		client, err := l.freshClient(ctx)
		if err != nil {
			return err
		}
		clients = append(clients, client)
	}
	own, err := newPrecise(ctx, l, clients[0], 0)
	if err != nil {
		return err
	}
	var over []*replayed
	for _, w := range []way{
		own, &clearing{client: clients[1]}, &keeping{clearing{client: clients[2]}},
	} {
		over = append(over, &replayed{way: w, filled: map[item]filling{}})
	}
	from := &source{versions: map[item]int{}, payload: s.payload}
	err = replay(ctx, headlineEvents(s.headlineEvents), s.headlinePace, from, over)
	if err != nil {
		return err
	}
	cleaned, err := keysBytes(ctx, clients[0])
	if err != nil {
		return err
	}
	kept, err := keysBytes(ctx, clients[2])
	if err != nil {
		return err
	}
	h.HitPercent, h.ClearingPercent = over[0].hitPercent(), over[1].hitPercent()
	h.FalseInvalidations, h.ClearingFalseInvalidations = over[0].needless, over[1].needless
	h.FewerFalsePercent = lessPercent(float64(over[0].needless), float64(over[1].needless))
	h.LessMemoryPercent = lessPercent(cleaned, kept)
	h.KeysLeft, err = keysLeft(ctx, clients[0])
	return err
}

func lessPercent(is, than float64) float64 { return tenths(100 * (1 - is/than)) }

// keysBytes sums what MEMORY USAGE says of all keys, the index and the heads included.
// A server of some hundred entries has more memory for connections than for keys.
func keysBytes(ctx context.Context, client *redis.Client) (float64, error) {
	var sum int64
	keys := client.Scan(ctx, 0, "*", 1000).Iterator()
	for keys.Next(ctx) {
		bytes, err := client.MemoryUsage(ctx, keys.Val(), 0).Result()
		if err != nil && !errors.Is(err, redis.Nil) { // it has just expired
			return 0, err
		}
		sum += bytes
	}
	return float64(sum), keys.Err()
}

// keysLeft waits until everything has expired, and returns how many keys have not. It deletes none.
func keysLeft(ctx context.Context, client *redis.Client) (int, error) {
	for deadline := time.Now().Add(headlineEnd); ; time.Sleep(100 * time.Millisecond) {
		left := 0
		keys := client.Scan(ctx, 0, "*", 1000).Iterator()
		for keys.Next(ctx) {
			if !isConfiguration(keys.Val()) {
				left++
			}
		}
		if err := keys.Err(); err != nil || left == 0 || time.Now().After(deadline) {
			return left, err
		}
	}
}

// isConfiguration recognises what a module has without entries. Beside policy, counters and the
// list of modules, that is the record that the slot is fenced for this life of the server.
func isConfiguration(key string) bool {
	return strings.HasSuffix(key, "}:policy") || strings.HasSuffix(key, "}:counters") ||
		strings.HasSuffix(key, "}:modules") || strings.Contains(key, "}:r:fence/")
}

// invalidate measures what a changed profile costs.
func (h *headline) invalidate(ctx context.Context, l *lab, s scale) error {
	client, err := l.freshClient(ctx)
	if err != nil {
		return err
	}
	own, err := newPrecise(ctx, l, client, entryTTL)
	if err != nil {
		return err
	}
	peer, err := l.freshClient(ctx)
	if err != nil {
		return err
	}
	if h.ProfileKeys, h.Growth, err = profileChanges(ctx, own, s); err != nil {
		return err
	}
	h.ClearingProfileKeys, h.ClearingGrowth, err = profileChanges(
		ctx, &clearing{client: peer, ttl: entryTTL}, s)
	return err
}

// profileChanges returns how many keys end when a profile changes, and how the time for it grows
// with the number of other keys.
func profileChanges(ctx context.Context, w way, s scale) (int, float64, error) {
	items := someItems(headlineMore * headlineKeys)
	few, ended, err := timeProfileChange(ctx, w, items[:headlineKeys], s)
	if err != nil {
		return 0, 0, err
	}
	many, _, err := timeProfileChange(ctx, w, items, s)
	return ended, hundredths(many / few), err
}

// someItems returns all items of some users, a user after the other.
func someItems(count int) []item {
	var items []item
	for n := 0; len(items) < count; n++ {
		items = append(items, changeOfProfile(n).affected...)
		for _, operation := range ofAuth {
			items = append(items, userItem("auth", operation, n))
		}
		items = append(items, postItem(n))
	}
	return items[:count]
}

// timeProfileChange returns the median of microseconds, and how many items the first one ended.
func timeProfileChange(
	ctx context.Context, w way, items []item, s scale,
) (took float64, ended int, err error) {
	var times []float64
	for sample := range 3 * s.samples {
		err = spread(len(items), func(n int) error {
			_, err := w.fetch(ctx, items[n], func() []byte { return s.smallPayload })
			return err
		})
		if err != nil {
			return 0, 0, err
		}
		began := time.Now()
		if err = w.clear(ctx, changeOfProfile(0)); err != nil {
			return 0, 0, err
		}
		times = append(times, micros(time.Since(began)))
		if sample > 0 {
			continue
		}
		if ended, err = uncached(ctx, w, items); err != nil {
			return 0, 0, err
		}
	}
	return medians.Of(times), ended, nil
}

func uncached(ctx context.Context, w way, items []item) (count int, err error) {
	for _, i := range items {
		cached, err := w.cached(ctx, i)
		if err != nil {
			return 0, err
		}
		if !cached {
			count++
		}
	}
	return count, nil
}

func (h *headline) print(w io.Writer) {
	fmt.Fprintf(w, "\nheadline, and clearing all: hits %v %%, %v %%; false invalidations %d, %d;\n",
		h.HitPercent, h.ClearingPercent, h.FalseInvalidations, h.ClearingFalseInvalidations)
	fmt.Fprintf(w, "keys that end with a profile %d, %d; memory %v %% less by expiry, %d keys left;\n",
		h.ProfileKeys, h.ClearingProfileKeys, h.LessMemoryPercent, h.KeysLeft)
	fmt.Fprintf(w, "among %d times as many keys, an invalidation takes %v times as long, %v\n",
		headlineMore, h.Growth, h.ClearingGrowth)
}
