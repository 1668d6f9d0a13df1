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

// way is how an application caches.
type way interface {
	// fetch returns the cached value, or loads it and stores it.
	fetch(ctx context.Context, i item, load func() []byte) ([]byte, error)
	// clear ends what is cached, as this way does after a change.
	clear(ctx context.Context, w *change) error
	// cached says whether there is an entry.
	cached(ctx context.Context, i item) (bool, error)
}

// precise invalidates by Cachewright.
type precise struct{ cache *cache.Client }

// newPrecise gives the server the policies of the modules. A ttl replaces those of the modules.
func newPrecise(
	ctx context.Context, l *lab, client *redis.Client, ttl time.Duration,
) (*precise, error) {
	r := registry.New(client)
	if _, err := r.Install(ctx); err != nil {
		return nil, err
	}
	for module, own := range headlineTTLs {
		policy := registry.Policy{DefaultTTL: new(max(own, ttl))}
		at := registry.Slot{Namespace: slot.Namespace, Module: module}
		if _, err := r.ApplyPolicy(ctx, at, policy); err != nil {
			return nil, err
		}
	}
	c, err := cache.New(client, slot.Namespace, cache.WithCodec(rawCodec{}),
		cache.WithTimeout(time.Minute))
	if err != nil {
		return nil, err
	}
	l.onClose(func() { _ = c.Close(context.WithoutCancel(ctx)) })
	return &precise{c}, nil
}

func (p *precise) fetch(ctx context.Context, i item, load func() []byte) ([]byte, error) {
	return cache.Fetch(ctx, p.cache, i.key(), func(context.Context) ([]byte, error) {
		return load(), nil
	})
}

func (p *precise) clear(ctx context.Context, w *change) error { return w.invalidate(ctx, p.cache) }

func (p *precise) cached(ctx context.Context, i item) (bool, error) {
	var value []byte
	return p.cache.Get(ctx, i.key(), &value)
}

// clearing deletes everything at each write. It is plain Redis.
type clearing struct {
	client *redis.Client
	// ttl replaces those of the modules.
	ttl time.Duration
}

func (c *clearing) fetch(ctx context.Context, i item, load func() []byte) ([]byte, error) {
	return fetchPlain(ctx, c.client, i, max(headlineTTLs[i.module], c.ttl), load)
}

func fetchPlain(
	ctx context.Context, client *redis.Client, i item, ttl time.Duration, load func() []byte,
) ([]byte, error) {
	value, err := client.Get(ctx, i.plainKey()).Bytes()
	if !errors.Is(err, redis.Nil) {
		return value, err
	}
	value = load()
	return value, client.Set(ctx, i.plainKey(), value, ttl).Err()
}

func (c *clearing) clear(ctx context.Context, _ *change) error {
	var cursor uint64
	for {
		keys, next, err := c.client.Scan(ctx, cursor, "app:*", 1000).Result()
		if err != nil {
			return err
		}
		if len(keys) > 0 {
			if err := c.client.Unlink(ctx, keys...).Err(); err != nil {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

func (c *clearing) cached(ctx context.Context, i item) (bool, error) {
	found, err := c.client.Exists(ctx, i.plainKey()).Result()
	return found == 1, err
}

// keeping deletes exactly what has changed, and nothing expires. It does not clean itself.
type keeping struct{ clearing }

func (k *keeping) fetch(ctx context.Context, i item, load func() []byte) ([]byte, error) {
	return fetchPlain(ctx, k.client, i, 0, load)
}

func (k *keeping) clear(ctx context.Context, w *change) error {
	keys := make([]string, len(w.affected))
	for n, i := range w.affected {
		keys[n] = i.plainKey()
	}
	return k.client.Unlink(ctx, keys...).Err()
}
