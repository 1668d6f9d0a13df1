// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/registry"
)

// opener returns a client of a server of its own.
type opener func(*lab, context.Context) (*redis.Client, error)

// fetchMisses read, find nothing, load in memory and fill. Each entry is requested once.
var fetchMisses = []writer{
	{plainMissRow, missPlain},
	{plainMissRow + "-autopipelined", missPlainPipelined},
	{"fetch-miss", missFetch((*lab).freshClient)},
	{
		"fetch-miss-autopipelined",
		missFetch((*lab).freshClient, cache.WithAutoPipelining(registry.HalfDuplex)),
	},
}

const plainMissRow = "plain-get-and-set"

// linkMisses do the same over a link.
var linkMisses = []writer{
	{plainMissRow + "-link", missPlainOver((*lab).farClient)},
	{"fetch-miss-link", missFetch((*lab).farClient)},
}

// missFetch misses as an application does. The heads are there, because the operation has an entry.
func missFetch(
	open opener, opts ...cache.Option,
) func(context.Context, *lab, scale) (func(context.Context, string) error, error) {
	return func(ctx context.Context, l *lab, s scale) (func(context.Context, string) error, error) {
		client, err := open(l, ctx)
		if err != nil {
			return nil, err
		}
		if _, err := install(ctx, client); err != nil {
			return nil, err
		}
		opts := append(opts, cache.WithCodec(rawCodec{}), cache.WithTimeout(time.Minute))
		c, err := cache.New(client, slot.Namespace, opts...)
		if err != nil {
			return nil, err
		}
		l.onClose(func() { _ = c.Close(context.WithoutCancel(ctx)) })
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

func missPlainOver(
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

func (b *bench) fetchMissOverLink(ctx context.Context, l *lab) error {
	subjects, err := writing(ctx, l, b.scale, linkMisses, id)
	if err != nil {
		return err
	}
	all, err := compare(ctx, l, subjects, linkGoroutines, b.rounds, b.lap)
	if err != nil {
		return err
	}
	for _, s := range subjects {
		r := throughputRow(s.name, linkGoroutines, all[s.name])
		toPlainMiss(plainMissRow+"-link")(&r, all[s.name], all)
		b.add(r)
	}
	return nil
}

func toPlainMiss(name string) func(r *result, of *figures, all map[string]*figures) {
	return func(r *result, of *figures, all map[string]*figures) {
		r.RatioToPlainGetAndSet = hundredths(ratio(of, all[name]))
		r.RedisToPlainGetAndSet = hundredths(medianRatio(of.redisMicros, all[name].redisMicros))
	}
}
