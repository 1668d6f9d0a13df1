// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry"
)

// chunk is the number of keys that one call reclaims, and that one pipeline of UNLINK frees.
const chunk = 200

// reclaimAll frees the memory of everything that was purged in the slot.
func reclaimAll(ctx context.Context, r *registry.Registry) (freed int64, err error) {
	for {
		reclaimed, err := r.Reclaim(ctx, slot, chunk)
		freed += reclaimed.Freed
		if err != nil || reclaimed.Pending == 0 {
			return freed, err
		}
	}
}

// reclaimRate purges the server's entries and returns how many of them are freed in a second.
func (f *filled) reclaimRate(ctx context.Context) (float64, error) {
	client, err := f.restore(ctx, ours)
	if err != nil {
		return 0, err
	}
	if err := ours.purge(ctx, client, purged); err != nil {
		return 0, err
	}
	began := time.Now()
	freed, err := reclaimAll(ctx, registry.New(client))
	return float64(freed) / time.Since(began).Seconds(), err
}

// unlinkRate fills a server with plain keys of the same values and frees them by pipelines of
// single UNLINKs. It returns the number of keys a second.
func unlinkRate(
	ctx context.Context, client *redis.Client, count int, payload []byte,
) (float64, error) {
	pipe, err := pipelined(client)
	if err != nil {
		return 0, err
	}
	err = spread(count, func(i int) error {
		return pipe.Set(ctx, plainKey(id(i)), payload, entryTTL).Err()
	})
	if err != nil {
		return 0, err
	}
	began := time.Now()
	for from := 0; from < count; from += chunk {
		_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i := from; i < min(from+chunk, count); i++ {
				pipe.Unlink(ctx, plainKey(id(i)))
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return float64(count) / time.Since(began).Seconds(), nil
}

// compareReclaim measures the keys a second of cw_reclaim and of UNLINK, in turns.
func compareReclaim(
	ctx context.Context, l *lab, f *filled, s scale,
) (reclaim, unlink *figures, err error) {
	client, err := l.freshClient(ctx)
	if err != nil {
		return nil, nil, err
	}
	reclaim, unlink = &figures{}, &figures{}
	for range s.samples {
		rate, err := f.reclaimRate(ctx)
		if err != nil {
			return nil, nil, err
		}
		reclaim.opsPerSec = append(reclaim.opsPerSec, rate)
		if rate, err = unlinkRate(ctx, client, s.largeKeys, s.payload); err != nil {
			return nil, nil, err
		}
		unlink.opsPerSec = append(unlink.opsPerSec, rate)
	}
	return reclaim, unlink, nil
}
