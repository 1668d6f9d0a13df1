// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
)

var duplexes = map[string]Duplex{"half duplex": HalfDuplex, "full duplex": FullDuplex}

func newPipelined(t *testing.T, client redis.UniversalClient, duplex Duplex) *Registry {
	t.Helper()
	r, err := NewPipelined(client, duplex)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Replies on a shared connection reach those who asked. The library, which is missing at first, is
// loaded on the way.
func TestPipelinedCallersGetTheirOwn(t *testing.T) {
	t.Parallel()
	clients := map[string]func(*testing.T) redis.UniversalClient{
		"standalone": func(t *testing.T) redis.UniversalClient { return redistest.Start(t).Client() },
		"cluster":    func(t *testing.T) redis.UniversalClient { return redistest.StartCluster(t, 3).Client() },
	}
	for kind, start := range clients {
		for name, duplex := range duplexes {
			t.Run(kind+", "+name, func(t *testing.T) {
				r := newPipelined(t, start(t), duplex)
				modules := []string{"users", "orders", "items", "carts"}
				for _, module := range modules {
					apply(t, r, Slot{Namespace: "shop", Module: module}, caching())
				}
				var wg sync.WaitGroup
				for caller := range 32 {
					wg.Go(func() {
						for i := range 20 {
							key := Key{Slot: Slot{Namespace: "shop", Module: modules[caller%len(modules)]}, Operation: "get", ID: fmt.Sprint(caller, i)}
							if err := fillAndRead(t.Context(), r, key); err != nil {
								t.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
}

func fillAndRead(ctx context.Context, r *Registry, key Key) error {
	lookup, err := r.Lease(ctx, key)
	if err != nil {
		return err
	}
	filled, err := r.Set(ctx, key, []byte(payloadOf(key)), lookup.Token)
	if err != nil || filled.Outcome != Stored {
		return fmt.Errorf("filling %q: %v, %w", key.ID, filled.Outcome, err)
	}
	if lookup, err = r.Read(ctx, key); err != nil || string(lookup.Payload) != payloadOf(key) {
		return fmt.Errorf("reading %q: %q, %w", key.ID, lookup.Payload, err)
	}
	return nil
}

func TestPipelinedFillIsFenced(t *testing.T) {
	for name, duplex := range duplexes {
		t.Run(name, func(t *testing.T) {
			r := newPipelined(t, redistest.Start(t).Client(), duplex)
			apply(t, r, users, caching())
			key := entry("get", "1", "")
			token := lease(t, r, key).Token
			invalidate(t, r, users, Scope{Operation: "get"})
			if filled, err := r.Set(t.Context(), key, []byte("old"), token); err != nil || filled.Outcome != Fenced {
				t.Errorf("a fill that began before an invalidation: %v, %v", filled.Outcome, err)
			}
		})
	}
}

// The payload belongs to the caller again when Set returns, whatever the pipeline still does with
// its call; the race detector sees to that.
func TestPipelinedCallEndsWithItsContext(t *testing.T) {
	for name, duplex := range duplexes {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			r := newPipelined(t, server.Client(), duplex)
			apply(t, r, users, caching())
			key := entry("get", "1", "")
			token := lease(t, r, key).Token
			server.Pause()
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
					defer cancel()
					payload := []byte(kilobyte)
					_, err := r.Set(ctx, key, payload, token)
					if !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("with a Redis that hangs: %v", err)
					}
					clear(payload)
					if _, err := r.Read(ctx, key); !errors.Is(err, ErrUnreachable) {
						t.Errorf("with a context that has ended: %v", err)
					}
				})
			}
			wg.Wait()
			server.Resume()
			if lookup := lease(t, r, key); lookup.Hit && string(lookup.Payload) != kilobyte {
				t.Errorf("stored %q", lookup.Payload)
			}
		})
	}
}

func TestPipeliningRefusesClientsThatItCannotServe(t *testing.T) {
	for name, client := range map[string]redis.UniversalClient{
		"ReadTimeout": redis.NewClient(&redis.Options{ReadTimeout: -1}),
		"redis.Ring":  redis.NewRing(&redis.RingOptions{}),
	} {
		t.Cleanup(func() { _ = client.Close() })
		if _, err := NewPipelined(client, HalfDuplex); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
