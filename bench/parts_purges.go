// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/bench/internal/medians"
)

// payloadFor keeps the largest purge within the memory of small machines.
func (b *bench) payloadFor(count int) []byte {
	if count > b.largeKeys {
		return b.smallPayload
	}
	return b.payload
}

func (b *bench) purges(ctx context.Context, l *lab) error {
	for _, count := range b.scale.purges {
		if err := b.purge(ctx, l, ours, count, b.payloadFor(count), b.purgeSamples(count)); err != nil {
			return err
		}
	}
	return nil
}

// expiringPurge purges when a quarter of the entries has expired and the others are about to.
func (b *bench) expiringPurge(ctx context.Context, l *lab) error {
	p := expiring(b.expiringTTL)
	f, err := newFilled(ctx, l, p, b.largeKeys, b.smallPayload)
	if err != nil {
		return err
	}
	defer f.server.Kill()
	select {
	case <-time.After(b.expiringTTL * 5 / 8):
	case <-ctx.Done():
		return ctx.Err()
	}
	return b.purgeFilled(ctx, f, p, b.largeKeys, b.samples)
}

// purgeSamples takes more samples of small purges, which are cheap.
func (b *bench) purgeSamples(count int) int {
	if count < b.largeKeys {
		return 3 * b.samples
	}
	return b.samples
}

func (b *bench) peerPurges(ctx context.Context, l *lab) error {
	for _, p := range []purger{gocachePurger, laravelPurger, luaPurger} {
		for _, count := range b.scale.purges {
			if count >= b.largeKeys {
				continue // measured with the stalls
			}
			if err := b.purge(ctx, l, p, count, b.payload, b.samples); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) purge(
	ctx context.Context, l *lab, p purger, count int, payload []byte, samples int,
) error {
	f, err := newFilled(ctx, l, p, count, payload)
	if err != nil {
		return err
	}
	defer f.server.Kill() // its memory is free before the next one is filled
	return b.purgeFilled(ctx, f, p, count, samples)
}

func (b *bench) purgeFilled(ctx context.Context, f *filled, p purger, count, samples int) error {
	times, err := f.timesToEffect(ctx, p, samples)
	if err != nil {
		return err
	}
	b.add(result{
		Name: fmt.Sprintf("%spurge-%d%s", p.name, count, p.state), P50Micros: tenths(medians.Of(times)),
	})
	return nil
}

func (b *bench) addStall(ctx context.Context, f *filled, p purger, samples int) error {
	s, err := f.stall(ctx, p, samples)
	if err != nil {
		return err
	}
	b.add(result{
		Name: p.name + "purge-stall", LongestMicros: tenths(medians.Of(s.longestMicros)),
		SlowestCallMicros: tenths(medians.Of(s.slowestMicros)),
	})
	return nil
}

// large measures the effects of a large purge by Cachewright on other clients and on memory.
func (b *bench) large(ctx context.Context, l *lab) error {
	f, err := newFilled(ctx, l, ours, b.largeKeys, b.payload)
	if err != nil {
		return err
	}
	if err := b.addIdle(ctx, f); err != nil {
		return err
	}
	if err := b.addStall(ctx, f, ours, b.samples); err != nil {
		return err
	}
	reclaim, unlink, err := compareReclaim(ctx, l, f, b.scale)
	if err != nil {
		return err
	}
	b.add(result{Name: "unlink", OpsPerSec: round(medians.Of(unlink.opsPerSec)), RatioToUnlink: 1})
	b.add(result{
		Name: "reclaim", OpsPerSec: round(medians.Of(reclaim.opsPerSec)),
		RatioToUnlink: hundredths(ratio(reclaim, unlink)),
	})
	return b.addMemory(ctx, l, f)
}

// addIdle adds the longest GET where nothing is purged, which shows the stalls of the machine.
func (b *bench) addIdle(ctx context.Context, f *filled) error {
	var longest []float64
	for range b.samples {
		client, err := f.restore(ctx, ours)
		if err != nil {
			return err
		}
		micros, err := probing(ctx, client, func() error {
			time.Sleep(3 * b.lap)
			return nil
		})
		if err != nil {
			return err
		}
		longest = append(longest, micros)
	}
	b.add(result{Name: "no-purge-stall", LongestMicros: tenths(medians.Of(longest))})
	return nil
}

func (b *bench) addMemory(ctx context.Context, l *lab, f *filled) error {
	index, err := f.indexBytes(ctx, ours, isOurEntry, b.largeKeys)
	if err != nil {
		return err
	}
	b.add(result{Name: "index-bytes", BytesPerEntry: tenths(index)})
	all, err := bytesInAll(ctx, l, func(client *redis.Client) error {
		return ours.fill(ctx, client, purged, b.largeKeys, b.payload)
	}, b.largeKeys)
	if err != nil {
		return err
	}
	b.add(result{Name: "entry-bytes", BytesPerEntry: tenths(all)})
	plain, err := bytesInAll(ctx, l, func(client *redis.Client) error {
		return spread(b.largeKeys, func(i int) error {
			return client.Set(ctx, plainKey(purged+longID(i)), b.payload, entryTTL).Err()
		})
	}, b.largeKeys)
	if err != nil {
		return err
	}
	b.add(result{Name: "plain-entry-bytes", BytesPerEntry: tenths(plain)})
	return nil
}

// peerLarge does the same for the tag protocols. The purge of gocache takes so long that it runs
// only once.
func (b *bench) peerLarge(ctx context.Context, l *lab) error {
	for _, p := range []struct {
		purger
		samples int
		index   bool
	}{
		{gocachePurger, 1, true}, {laravelPurger, b.samples, true}, {luaPurger, b.samples, false},
	} {
		f, err := newFilled(ctx, l, p.purger, b.largeKeys, b.payload)
		if err != nil {
			return err
		}
		if err := b.purgeFilled(ctx, f, p.purger, b.largeKeys, p.samples); err != nil {
			return err
		}
		if err := b.addStall(ctx, f, p.purger, p.samples); err != nil {
			return err
		}
		if p.index {
			index, err := f.indexBytes(ctx, p.purger, isPlainEntry, b.largeKeys)
			if err != nil {
				return err
			}
			b.add(result{Name: p.name + "index-bytes", BytesPerEntry: tenths(index)})
		}
		f.server.Kill()
	}
	return nil
}
