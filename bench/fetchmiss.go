// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/bench/internal/medians"
	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/registry"
)

// opener returns a client of a server of its own.
type opener func(*lab, context.Context) (*redis.Client, error)

// fetchMisses read, find nothing, load in memory and fill. Each entry is requested once.
var fetchMisses = []writer{
	{plainMissRow, missPlain((*lab).freshClient)},
	{plainMissRow + "-autopipelined", missPlainPipelined},
	{"fetch-miss", missFetch((*lab).freshClient)},
	{
		"fetch-miss-autopipelined",
		missFetch((*lab).freshClient, cache.WithAutoPipelining(registry.HalfDuplex)),
	},
}

const plainMissRow = "plain-get-and-set"

// missFetch misses as an application does. The heads are there, because the operation has an entry.
func missFetch(
	open opener, opts ...cache.Option,
) func(context.Context, *lab, scale) (func(context.Context, string) error, error) {
	return func(ctx context.Context, l *lab, s scale) (func(context.Context, string) error, error) {
		client, err := open(l, ctx)
		if err != nil {
			return nil, err
		}
		c, err := newCache(ctx, l, client, opts...)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, id string) error {
			loaded := false
			_, err := cache.Fetch(ctx, c, cacheKey(id), func(context.Context) ([]byte, error) {
				loaded = true
				return s.payload, nil
			})
			if err == nil && !loaded {
				err = errHit
			}
			return err
		}, c.Set(ctx, cacheKey("heads"), s.payload)
	}
}

// getter is a client of go-redis, or what pipelines its calls.
type getter interface {
	Get(ctx context.Context, key string) *redis.StringCmd
	Set(ctx context.Context, key string, value any, ttl time.Duration) *redis.StatusCmd
}

func missBy(client getter, s scale) func(context.Context, string) error {
	return func(ctx context.Context, id string) error {
		if err := client.Get(ctx, plainKey(id)).Err(); !errors.Is(err, redis.Nil) {
			return errors.Join(errHit, err)
		}
		return client.Set(ctx, plainKey(id), s.payload, entryTTL).Err()
	}
}

func missPlain(
	open opener,
) func(context.Context, *lab, scale) (func(context.Context, string) error, error) {
	return func(ctx context.Context, l *lab, s scale) (func(context.Context, string) error, error) {
		client, err := open(l, ctx)
		return missBy(client, s), err
	}
}

func missPlainPipelined(
	ctx context.Context, l *lab, s scale,
) (func(context.Context, string) error, error) {
	client, err := l.freshClient(ctx)
	if err != nil {
		return nil, err
	}
	pipe, err := pipelined(client)
	return missBy(pipe, s), err
}

// fetchMiss measures GET and SET EX again for the ratios only.
func (b *bench) fetchMiss(ctx context.Context, l *lab) error {
	subjects, err := writing(ctx, l, b.scale, fetchMisses, id)
	if err != nil {
		return err
	}
	return b.without(plainMissRow, func() error {
		return b.throughput(ctx, l, subjects, toPlainMiss(plainMissRow))
	})
}

func toPlainMiss(name string) func(r *result, of *figures, all map[string]*figures) {
	return func(r *result, of *figures, all map[string]*figures) {
		r.RatioToPlainGetAndSet = hundredths(ratio(of, all[name]))
		r.RedisToPlainGetAndSet = hundredths(medians.Ratio(of.redisMicros, all[name].redisMicros))
	}
}
