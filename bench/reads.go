// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	gocache "github.com/go-redis/cache/v9"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidisaside"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/registry"
)

var errMiss = errors.New("a miss, where everything was filled")

// autoPipelining returns the options that are fastest on loopback, as the documentation of go-redis
// predicts. Where a round trip costs nothing, full duplex has nothing to overlap.
func autoPipelining() *redis.AutoPipelineOptions {
	return redis.DefaultBlockingAutoPipelineOptions()
}

// reader makes a subject that reads existing entries.
type reader struct {
	name string
	make func(ctx context.Context, l *lab, s scale) (func(ctx context.Context, id string) error, error)
}

var networkReaders = []reader{
	{"plain-get", readPlain},
	{"hit", readRegistry},
	{"plain-get-autopipelined", readPlainPipelined},
	{"hit-autopipelined", readRegistryPipelined(registry.HalfDuplex)},
	{"hit-fullduplex", readRegistryPipelined(registry.FullDuplex)},
	{"hit-fetch", readCache()},
	{"hit-fetch-autopipelined", readCache(cache.WithAutoPipelining(registry.HalfDuplex))},
	{"go-redis-cache-hit", readGoRedisCache(nil)},
	{"rueidisaside-hit", readRueidisAside(true)},
}

// nearReaders also keep entries in process.
var nearReaders = []reader{
	{"plain-get", readPlain},
	{"hit-near", readCache(cache.WithNearCache(cache.NearCache{
		MaxEntries: nearEntries, MaxBytes: nearBytes,
	}))},
	{"go-redis-cache-hit-near", readGoRedisCache(gocache.NewTinyLFU(nearEntries, time.Hour))},
	{"rueidisaside-hit-near", readRueidisAside(false)},
}

// Enough room for all entries.
const (
	nearEntries = 100_000
	nearBytes   = 256 << 20
)

func subjectsOf(ctx context.Context, l *lab, s scale, readers []reader) ([]*subject, error) {
	var subjects []*subject
	for _, r := range readers {
		read, err := r.make(ctx, l, s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		ids := make([]string, s.keys)
		for i := range ids {
			ids[i] = id(i)
		}
		subjects = append(subjects, &subject{name: r.name, do: func(ctx context.Context, n int) error {
			return read(ctx, ids[n%len(ids)])
		}})
	}
	return subjects, nil
}

// plainKey returns the key of an entry for clients that store nothing else.
func plainKey(id string) string { return "bench:items:" + operation + ":" + id }

func fillPlain(ctx context.Context, client *redis.Client, s scale) error {
	return spread(s.keys, func(i int) error {
		return client.Set(ctx, plainKey(id(i)), s.payload, entryTTL).Err()
	})
}

func plainServer(ctx context.Context, l *lab, s scale) (*redis.Client, error) {
	client, err := l.freshClient(ctx)
	if err != nil {
		return nil, err
	}
	return client, fillPlain(ctx, client, s)
}

func readPlain(ctx context.Context, l *lab, s scale) (func(context.Context, string) error, error) {
	client, err := plainServer(ctx, l, s)
	return func(ctx context.Context,
		id string,
	) error {
		return client.Get(ctx, plainKey(id)).Err()
	}, err
}

func readPlainPipelined(
	ctx context.Context, l *lab, s scale,
) (func(context.Context, string) error, error) {
	client, err := plainServer(ctx, l, s)
	if err != nil {
		return nil, err
	}
	pipe, err := pipelined(client)
	return func(ctx context.Context, id string) error { return pipe.Get(ctx, plainKey(id)).Err() }, err
}

func ownServer(ctx context.Context, l *lab, s scale) (*redis.Client, error) {
	client, err := l.freshClient(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := install(ctx, client); err != nil {
		return nil, err
	}
	return client, fillMany(ctx, client, operation, s.keys, id, s.payload)
}

func hitBy(r *registry.Registry) func(context.Context, string) error {
	return func(ctx context.Context, id string) error {
		lookup, err := r.Read(ctx, entry(operation, id))
		if err == nil && !lookup.Hit {
			err = errMiss
		}
		return err
	}
}

func readRegistry(
	ctx context.Context, l *lab, s scale,
) (func(context.Context, string) error, error) {
	client, err := ownServer(ctx, l, s)
	return hitBy(registry.New(client)), err
}

func readRegistryPipelined(
	duplex registry.Duplex,
) func(context.Context, *lab, scale) (func(context.Context, string) error, error) {
	return func(ctx context.Context, l *lab, s scale) (func(context.Context, string) error, error) {
		client, err := ownServer(ctx, l, s)
		if err != nil {
			return nil, err
		}
		r, err := registry.NewPipelined(client, duplex)
		return hitBy(r), err
	}
}

// rawCodec stores the bytes unchanged, as the peers do.
type rawCodec struct{}

func (rawCodec) Marshal(value any) ([]byte, error) { return value.([]byte), nil }

func (rawCodec) Unmarshal(data []byte, out any) error {
	*out.(*[]byte) = data
	return nil
}

// readCache reads as an application does, through package cache.
func readCache(
	opts ...cache.Option,
) func(context.Context, *lab, scale) (func(context.Context, string) error, error) {
	return func(ctx context.Context, l *lab, s scale) (func(context.Context, string) error, error) {
		c, err := filledCache(ctx, l, s, opts...)
		return func(ctx context.Context, id string) error {
			_, err := cache.Fetch(ctx, c, cacheKey(id), func(context.Context) ([]byte, error) {
				return nil, errMiss
			})
			return err
		}, err
	}
}

func cacheKey(id string) cache.Key {
	return cache.Key{Module: slot.Module, Operation: operation, Params: id}
}

// filledCache returns a client of a server of its own that has all entries.
func filledCache(
	ctx context.Context, l *lab, s scale, opts ...cache.Option,
) (*cache.Client, error) {
	client, err := l.freshClient(ctx)
	if err != nil {
		return nil, err
	}
	c, err := newCache(ctx, l, client, opts...)
	if err != nil {
		return nil, err
	}
	return c, spread(s.keys, func(i int) error { return c.Set(ctx, cacheKey(id(i)), s.payload) })
}

// newCache returns a cache in a server that has no library yet.
func newCache(
	ctx context.Context, l *lab, client *redis.Client, opts ...cache.Option,
) (*cache.Client, error) {
	if _, err := install(ctx, client); err != nil {
		return nil, err
	}
	// On a machine that halts for a moment, the default timeout would call the loader, which must
	// not be measured.
	opts = append(opts, cache.WithCodec(rawCodec{}), cache.WithTimeout(time.Minute))
	c, err := cache.New(client, slot.Namespace, opts...)
	if err != nil {
		return nil, err
	}
	l.onClose(func() { _ = c.Close(context.WithoutCancel(ctx)) })
	return c, nil
}

func readGoRedisCache(
	local gocache.LocalCache,
) func(context.Context, *lab, scale) (func(context.Context, string) error, error) {
	return func(ctx context.Context, l *lab, s scale) (func(context.Context, string) error, error) {
		client, err := plainServer(ctx, l, s)
		peer := gocache.New(&gocache.Options{Redis: client, LocalCache: local})
		return func(ctx context.Context, id string) error {
			var value []byte // this library stores it unchanged
			return peer.Get(ctx, plainKey(id), &value)
		}, err
	}
}

func readRueidisAside(
	networkOnly bool,
) func(context.Context, *lab, scale) (func(context.Context, string) error, error) {
	return func(ctx context.Context, l *lab, s scale) (func(context.Context, string) error, error) {
		client, err := plainServer(ctx, l, s)
		if err != nil {
			return nil, err
		}
		peer, err := newRueidisAside(l, client.Options().Addr, networkOnly)
		return func(ctx context.Context, id string) error {
			_, err := peer.Get(ctx, entryTTL, plainKey(id), func(context.Context, string) (string, error) {
				return "", errMiss
			})
			return err
		}, err
	}
}

func newRueidisAside(l *lab, addr string, networkOnly bool) (rueidisaside.CacheAsideClient, error) {
	peer, err := rueidisaside.NewClient(rueidisaside.ClientOption{
		ClientOption: rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: networkOnly},
	})
	if err == nil {
		l.onClose(peer.Close)
	}
	return peer, err
}
