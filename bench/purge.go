// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// purger invalidates all entries of an operation, or of the tag with the same name.
type purger struct {
	name  string
	state string // a suffix of the row's name if the entries are in an unusual state
	fill  func(ctx context.Context, client *redis.Client, operation string, count int,
		payload []byte) error
	purge func(ctx context.Context, client *redis.Client, operation string) error
	// reclaim frees the memory of purged entries, if purge does not free it.
	reclaim func(ctx context.Context, client *redis.Client) error
}

const (
	purged = "list"
	warmUp = "warm-up"
)

var ours = purger{
	fill: func(ctx context.Context, client *redis.Client, operation string, count int,
		payload []byte,
	) error {
		if _, err := install(ctx, client); err != nil {
			return err
		}
		return fillMany(ctx, client, operation, count, longID, payload)
	},
	purge: func(ctx context.Context, client *redis.Client, operation string) error {
		_, err := registry.New(client).Invalidate(ctx, slot, registry.Scope{Operation: operation},
			registry.ModeHard, "")
		return err
	},
	reclaim: func(ctx context.Context, client *redis.Client) error {
		_, err := reclaimAll(ctx, registry.New(client))
		return err
	},
}

// expiring returns a purger of ours whose entries expire at different times, the first after half
// of the TTL.
func expiring(ttl time.Duration) purger {
	p := ours
	p.state = "-expiring"
	p.fill = func(ctx context.Context, client *redis.Client, operation string, count int,
		payload []byte,
	) error {
		r := registry.New(client)
		if _, err := r.Install(ctx); err != nil {
			return err
		}
		policy := registry.Policy{
			DefaultTTL: new(entryTTL),
			Operations: []registry.OperationPolicy{{Name: purged, TTL: ttl, JitterPercent: 50}},
		}
		if _, err := r.ApplyPolicy(ctx, slot, policy); err != nil {
			return err
		}
		return fillMany(ctx, client, operation, count, longID, payload)
	}
	return p
}

var (
	gocachePurger = purger{name: "gocache-", fill: fillTagged(gocacheSet), purge: gocachePurge}
	laravelPurger = purger{name: "laravel-", fill: fillTagged(laravelSet), purge: laravelPurge}
	// The script uses the sets that gocache keeps.
	luaPurger = purger{
		name: "lua-", fill: fillTagged(gocacheSet),
		purge: func(ctx context.Context, client *redis.Client, tag string) error {
			return luaPurge.Run(ctx, client, []string{gocacheTag(tag)}).Err()
		},
	}
)

type tagSetter func(ctx context.Context, c redis.Cmdable, key string, value []byte,
	tags []string) error

func fillTagged(set tagSetter) func(context.Context, *redis.Client, string, int, []byte) error {
	return func(ctx context.Context, client *redis.Client, tag string, count int,
		payload []byte,
	) error {
		pipe, err := pipelined(client)
		if err != nil {
			return err
		}
		return spread(count, func(i int) error {
			id := longID(i)
			return set(ctx, pipe, plainKey(tag+id), payload,
				[]string{slot.Module, tag, "owner-" + id[len(id)-1:]})
		})
	}
}

// filled is a server that is filled once. Each purge begins with the same data.
type filled struct {
	lab    *lab
	server *redistest.Server
}

func newFilled(ctx context.Context, l *lab, p purger, count int, payload []byte) (*filled, error) {
	server, err := l.server(ctx)
	if err != nil {
		return nil, err
	}
	client := l.client(server)
	if err := p.fill(ctx, client, purged, count, payload); err != nil {
		return nil, fmt.Errorf("filling %d entries: %w", count, err)
	}
	if err := p.fill(ctx, client, warmUp, 1, payload); err != nil {
		return nil, err
	}
	return &filled{lab: l, server: server}, client.Save(ctx).Err()
}

// restore restarts the server with the saved data, and warms up client and server.
func (f *filled) restore(ctx context.Context, p purger) (*redis.Client, error) {
	f.server.Restart()
	client := f.lab.client(f.server)
	const times = 5
	for range times {
		if err := p.purge(ctx, client, warmUp); err != nil {
			return nil, err
		}
		if err := p.fill(ctx, client, warmUp, 1, []byte("x")); err != nil {
			return nil, err
		}
	}
	return client, nil
}

// timesToEffect returns the microseconds from the call of a purge to its answer. After the answer,
// no reader finds an entry.
func (f *filled) timesToEffect(ctx context.Context, p purger, samples int) ([]float64, error) {
	var times []float64
	for range samples {
		client, err := f.restore(ctx, p)
		if err != nil {
			return nil, err
		}
		began := time.Now()
		if err := p.purge(ctx, client, purged); err != nil {
			return nil, err
		}
		times = append(times, micros(time.Since(began)))
	}
	return times, nil
}

// stall is the delay of another client's calls during a purge and the reclaim of its memory.
type stall struct {
	longestMicros []float64
	slowestMicros []float64 // of the purge's calls, measured by Redis
}

const probe = "stall-probe"

func (f *filled) stall(ctx context.Context, p purger, samples int) (stall, error) {
	var s stall
	for range samples {
		client, err := f.restore(ctx, p)
		if err != nil {
			return s, err
		}
		longest, err := probing(ctx, f.lab.client(f.server), func() error {
			if err := p.purge(ctx, client, purged); err != nil || p.reclaim == nil {
				return err
			}
			return p.reclaim(ctx, client)
		})
		if err != nil {
			return s, err
		}
		slowest, err := slowestCall(ctx, client)
		if err != nil {
			return s, err
		}
		s.longestMicros = append(s.longestMicros, longest)
		s.slowestMicros = append(s.slowestMicros, slowest)
	}
	return s, nil
}

// probing returns the longest time that a plain GET took while fn ran.
func probing(
	ctx context.Context, client *redis.Client, fn func() error,
) (longestMicros float64, err error) {
	if err := client.Set(ctx, probe, "x", 0).Err(); err != nil {
		return 0, err
	}
	if err := client.SlowLogReset(ctx).Err(); err != nil {
		return 0, err
	}
	done := make(chan error, 1)
	go func() { done <- fn() }()
	for {
		began := time.Now()
		if err := client.Get(ctx, probe).Err(); err != nil {
			return 0, err
		}
		longestMicros = max(longestMicros, micros(time.Since(began)))
		select {
		case err := <-done:
			return longestMicros, err
		default:
		}
	}
}

// slowestCall returns the time of the slowest call in the slow log, or 0 if all took less than a
// millisecond.
func slowestCall(ctx context.Context, client *redis.Client) (float64, error) {
	entries, err := client.SlowLogGet(ctx, -1).Result()
	if err != nil {
		return 0, err
	}
	slowest := time.Duration(0)
	for _, e := range entries {
		slowest = max(slowest, e.Duration)
	}
	return micros(slowest), nil
}
