// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"github.com/cachewright/cachewright/cache"
)

const (
	// churnGoroutines read while another client deletes single entries.
	churnGoroutines = 8
	// churnPause is the time from one deletion to the next: 100 a second.
	churnPause = 10 * time.Millisecond
)

// nearChurn measures near caches while another client deletes entries. Who misses loads.
func (b *bench) nearChurn(ctx context.Context, l *lab) error {
	var subjects []*subject
	for _, near := range []struct {
		open    func(context.Context, *lab, scale) (*subject, func(int) error, error)
		churned bool
	}{{nearOf, false}, {nearOf, true}, {rueidisNearOf, true}} {
		s, remove, err := near.open(ctx, l, b.scale)
		if err != nil {
			return err
		}
		if near.churned {
			s.name, s.beside = s.name+"-churn", deleting(remove, b.keys)
		}
		subjects = append(subjects, s)
	}
	all, err := compare(ctx, l, subjects, churnGoroutines, b.rounds, b.lap)
	if err != nil {
		return err
	}
	for _, s := range subjects {
		if s.beside == nil {
			continue // it is measured for the ratio
		}
		r := throughputRow(s.name, churnGoroutines, all[s.name])
		r.RatioToHitNear = hundredths(ratio(all[s.name], all["hit-near"]))
		b.add(r)
	}
	return nil
}

// deleting deletes one entry after the other, until the lap ends.
func deleting(remove func(n int) error, keys int) func() (stop func() error) {
	next := 0
	return func() func() error {
		done, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			ticker := time.NewTicker(churnPause)
			defer ticker.Stop()
			for {
				select {
				case <-done:
					ended <- nil
					return
				case <-ticker.C:
				}
				if err := remove(next % keys); err != nil {
					ended <- err
					return
				}
				next++
			}
		}()
		return func() error {
			close(done)
			return <-ended
		}
	}
}

// nearOf reads with a near cache, and removes entries with a client that has none.
func nearOf(ctx context.Context, l *lab, s scale) (*subject, func(int) error, error) {
	c, err := filledCache(ctx, l, s, cache.WithNearCache(cache.NearCache{
		MaxEntries: nearEntries, MaxBytes: nearBytes,
	}))
	if err != nil {
		return nil, nil, err
	}
	ofServer := l.clocks[len(l.clocks)-1]
	other, err := cache.New(ofServer, slot.Namespace, cache.WithTimeout(time.Minute))
	if err != nil {
		return nil, nil, err
	}
	l.onClose(func() { _ = other.Close(context.WithoutCancel(ctx)) })
	return reading("hit-near", s, func(ctx context.Context, id string) error {
			_, err := cache.Fetch(ctx, c, cacheKey(id), func(context.Context) ([]byte, error) {
				return s.payload, nil
			})
			return err
		}), func(n int) error {
			return other.Delete(ctx, cacheKey(id(n)))
		}, nil
}

func rueidisNearOf(ctx context.Context, l *lab, s scale) (*subject, func(int) error, error) {
	client, err := plainServer(ctx, l, s)
	if err != nil {
		return nil, nil, err
	}
	peer, err := newRueidisAside(l, client.Options().Addr, false)
	if err != nil {
		return nil, nil, err
	}
	return reading("rueidisaside-hit-near", s, func(ctx context.Context, id string) error {
			_, err := peer.Get(ctx, entryTTL, plainKey(id), func(context.Context, string) (string, error) {
				return string(s.payload), nil
			})
			return err
		}), func(n int) error {
			return client.Del(ctx, plainKey(id(n))).Err()
		}, nil
}

func reading(name string, s scale, read func(context.Context, string) error) *subject {
	ids := make([]string, s.keys)
	for i := range ids {
		ids[i] = id(i)
	}
	return &subject{name: name, do: func(ctx context.Context, n int) error {
		return read(ctx, ids[n%len(ids)])
	}}
}
