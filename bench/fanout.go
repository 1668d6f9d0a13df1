// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
)

const (
	// fanoutSettles is enough for what each process reads of the heads that it follows.
	fanoutSettles = 300 * time.Millisecond
	// fanoutDeletions are made one at a time, so that none is looked up together with another.
	fanoutDeletions = 10
)

// nearFanout measures what the near caches of many processes cost Redis, at rest and for the
// deletion of one entry. They use its operation, or they do not.
func (b *bench) nearFanout(ctx context.Context, _ *lab) error {
	for _, processes := range b.nearProcesses {
		err := inLab(ctx, func(ctx context.Context, l *lab) error {
			return b.nearFanoutOf(ctx, l, processes)
		})
		if err != nil {
			return fmt.Errorf("near caches of %d processes: %w", processes, err)
		}
	}
	return nil
}

func (b *bench) nearFanoutOf(ctx context.Context, l *lab, processes int) error {
	client, err := l.freshClient(ctx)
	if err != nil {
		return err
	}
	if _, err := install(ctx, client); err != nil {
		return err
	}
	other, err := cache.New(client, slot.Namespace, cache.WithTimeout(time.Minute))
	if err != nil {
		return err
	}
	l.onClose(func() { _ = other.Close(context.WithoutCancel(ctx)) })
	all, err := l.nearProcesses(ctx, client, processes)
	if err != nil {
		return err
	}
	atRest, err := l.timed(ctx, func() (lap, error) { return rest(ctx, b.nearRest) })
	if err != nil {
		return err
	}
	restShare := float64(atRest.redis) / float64(atRest.took)
	for _, kind := range []struct {
		suffix string
		use    func() error
	}{
		{"", func() error { return useKept(ctx, all) }},
		{"-unused", func() error { return nil }},
	} {
		deleting, err := l.timed(ctx, func() (lap, error) {
			return b.deleteSingly(ctx, other, kind.use)
		})
		if err != nil {
			return err
		}
		ofDeletions := micros(deleting.redis) - restShare*micros(deleting.took)
		b.add(result{
			Name:        fmt.Sprint("near-fanout-", processes, kind.suffix),
			RedisMicros: hundredths(max(ofDeletions, 1) / float64(deleting.ops)),
			RestPercent: max(0.01, hundredths(100*restShare)),
		})
	}
	return nil
}

// nearProcesses opens clients with near caches, each with connections of its own, as if they were
// processes. Each keeps an entry of the operation.
func (l *lab) nearProcesses(
	ctx context.Context, server *redis.Client, count int,
) ([]*cache.Client, error) {
	all := make([]*cache.Client, count)
	for i := range all {
		client := redis.NewClient(&redis.Options{
			Addr: server.Options().Addr, PoolSize: 1, ContextTimeoutEnabled: true,
			ReadTimeout: time.Minute,
		})
		l.onClose(func() { _ = client.Close() })
		c, err := cache.New(client, slot.Namespace, cache.WithCodec(rawCodec{}),
			cache.WithTimeout(time.Minute), cache.WithReportInterval(time.Hour),
			cache.WithNearCache(cache.NearCache{MaxEntries: 100, MaxAge: time.Hour}))
		if err != nil {
			return nil, err
		}
		l.onClose(func() { _ = c.Close(context.WithoutCancel(ctx)) })
		all[i] = c
	}
	const keeps = 4 // the first hits begin to follow the module and its heads
	for range keeps {
		if err := useKept(ctx, all); err != nil {
			return nil, err
		}
		if _, err := rest(ctx, fanoutSettles); err != nil {
			return nil, err
		}
	}
	return all, allFollow(ctx, server, count)
}

// useKept lets each process use its entry. It costs Redis nothing if that is kept.
func useKept(ctx context.Context, all []*cache.Client) error {
	return spread(len(all), func(i int) error {
		_, err := cache.Fetch(ctx, all[i], cacheKey("kept"), func(context.Context) ([]byte, error) {
			return []byte("value"), nil
		})
		return err
	})
}

// allFollow returns an error unless so many near caches are told of changes.
func allFollow(ctx context.Context, server *redis.Client, count int) error {
	const channel = "__redis__:invalidate"
	told, err := server.PubSubNumSub(ctx, channel).Result()
	if err == nil && told[channel] != int64(count) {
		err = fmt.Errorf("%d near caches follow Redis, want %d", told[channel], count)
	}
	return err
}

func rest(ctx context.Context, length time.Duration) (lap, error) {
	began := time.Now()
	select {
	case <-time.After(length):
	case <-ctx.Done():
	}
	return lap{ops: 1, took: time.Since(began)}, ctx.Err()
}

// deleteSingly deletes entries of the operation that no process keeps. use comes before each.
func (b *bench) deleteSingly(
	ctx context.Context, c *cache.Client, use func() error,
) (lap, error) {
	began := time.Now()
	for i := range fanoutDeletions {
		if err := use(); err != nil {
			return lap{}, err
		}
		if err := c.Delete(ctx, cacheKey(id(i))); err != nil {
			return lap{}, err
		}
		if _, err := rest(ctx, b.nearRest/fanoutDeletions); err != nil {
			return lap{}, err
		}
	}
	return lap{ops: fanoutDeletions, took: time.Since(began)}, nil
}
