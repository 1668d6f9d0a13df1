// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"

	gocache "github.com/go-redis/cache/v9"

	"github.com/cachewright/cachewright/registry"
)

var errHit = errors.New("a hit, where nothing was filled")

// writer makes a subject that writes the entry it is given.
type writer struct {
	name string
	make func(ctx context.Context, l *lab, s scale) (func(ctx context.Context, id string) error, error)
}

// plainSetRow is what ratios of writes refer to.
const plainSetRow = "plain-set"

// fillWriters write the same number of entries as the readers read, again and again.
var fillWriters = []writer{
	{plainSetRow, writePlain},
	{"fill", writeRegistry},
	{"fill-autopipelined", writeRegistryPipelined},
	{"go-redis-cache-set", writeGoRedisCache},
	{"gocache-set", writeGocache},
	{"laravel-set", writeLaravel},
}

// missWriters find nothing and fill. Each entry is requested once.
var missWriters = []writer{
	{plainMissRow, missPlain((*lab).freshClient)},
	{"miss", missRegistry},
	{"go-redis-cache-miss", missGoRedisCache},
	{"rueidisaside-miss", missRueidisAside},
}

func writing(
	ctx context.Context, l *lab, s scale, writers []writer, name func(n int) string,
) ([]*subject, error) {
	var subjects []*subject
	for _, w := range writers {
		write, err := w.make(ctx, l, s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.name, err)
		}
		subjects = append(subjects, &subject{name: w.name, do: func(ctx context.Context, n int) error {
			return write(ctx, name(n))
		}})
	}
	return subjects, nil
}

func writePlain(ctx context.Context, l *lab, s scale) (func(context.Context, string) error, error) {
	client, err := l.freshClient(ctx)
	return func(ctx context.Context, id string) error {
		return client.Set(ctx, plainKey(id), s.payload, entryTTL).Err()
	}, err
}

func fillBy(
	ctx context.Context, r *registry.Registry, s scale,
) (func(context.Context, string) error, error) {
	token, err := leaseFor(ctx, r, operation)
	return func(ctx context.Context, id string) error {
		return fill(ctx, r, entry(operation, id), s.payload, token)
	}, err
}

func writeRegistry(
	ctx context.Context, l *lab, s scale,
) (func(context.Context, string) error, error) {
	client, err := l.freshClient(ctx)
	if err != nil {
		return nil, err
	}
	r, err := install(ctx, client)
	if err != nil {
		return nil, err
	}
	return fillBy(ctx, r, s)
}

func writeRegistryPipelined(
	ctx context.Context, l *lab, s scale,
) (func(context.Context, string) error, error) {
	client, err := l.freshClient(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := install(ctx, client); err != nil {
		return nil, err
	}
	r, err := registry.NewPipelined(client, registry.HalfDuplex)
	if err != nil {
		return nil, err
	}
	return fillBy(ctx, r, s)
}

func writeGoRedisCache(
	ctx context.Context, l *lab, s scale,
) (func(context.Context, string) error, error) {
	client, err := l.freshClient(ctx)
	peer := gocache.New(&gocache.Options{Redis: client})
	return func(ctx context.Context, id string) error {
		return peer.Set(&gocache.Item{Ctx: ctx, Key: plainKey(id), Value: s.payload, TTL: entryTTL})
	}, err
}

// tagsOf returns the tags of an entry: its module, its operation, and one of ten owners.
func tagsOf(
	id string,
) []string {
	return []string{slot.Module, operation, "owner-" + id[len(id)-1:]}
}

func writeGocache(
	ctx context.Context, l *lab, s scale,
) (func(context.Context, string) error, error) {
	client, err := l.freshClient(ctx)
	return func(ctx context.Context, id string) error {
		return gocacheSet(ctx, client, plainKey(id), s.payload, tagsOf(id))
	}, err
}

func writeLaravel(
	ctx context.Context, l *lab, s scale,
) (func(context.Context, string) error, error) {
	client, err := l.freshClient(ctx)
	return func(ctx context.Context, id string) error {
		return laravelSet(ctx, client, plainKey(id), s.payload, tagsOf(id))
	}, err
}

// missRegistry takes a lease and fills. It skips the read that finds nothing, because a caller who
// expects a miss begins with the lease.
func missRegistry(
	ctx context.Context, l *lab, s scale,
) (func(context.Context, string) error, error) {
	client, err := l.freshClient(ctx)
	if err != nil {
		return nil, err
	}
	r, err := install(ctx, client)
	return func(ctx context.Context, id string) error {
		key := entry(operation, id)
		lookup, err := r.Lease(ctx, key)
		if err != nil {
			return err
		}
		return fill(ctx, r, key, s.payload, lookup.Token)
	}, err
}

func missGoRedisCache(
	ctx context.Context, l *lab, s scale,
) (func(context.Context, string) error, error) {
	client, err := l.freshClient(ctx)
	peer := gocache.New(&gocache.Options{Redis: client})
	return func(ctx context.Context, id string) error {
		var value []byte
		return peer.Once(&gocache.Item{
			Ctx: ctx, Key: plainKey(id), Value: &value, TTL: entryTTL,
			Do: func(*gocache.Item) (any, error) { return s.payload, nil },
		})
	}, err
}

func missRueidisAside(
	ctx context.Context, l *lab, s scale,
) (func(context.Context, string) error, error) {
	server, err := l.server(ctx)
	if err != nil {
		return nil, err
	}
	// its lock needs tracking, which comes with its local cache
	peer, err := newRueidisAside(l, server.Addr(), false)
	return func(ctx context.Context, id string) error {
		_, err := peer.Get(ctx, entryTTL, plainKey(id), func(context.Context, string) (string, error) {
			return string(s.payload), nil
		})
		return err
	}, err
}
