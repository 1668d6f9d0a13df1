// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
)

var kilobyte = strings.Repeat("x", 1024)

func benchRegistry(b *testing.B) (*Registry, *redis.Client) {
	b.Helper()
	client := redistest.Start(b).Client()
	r := New(client)
	if _, err := r.Install(b.Context()); err != nil {
		b.Fatal(err)
	}
	apply(b, r, users, Policy{DefaultTTL: new(time.Hour)})
	return r, client
}

// What a hit costs next to the plainest read there is.
func BenchmarkHit(b *testing.B) {
	r, client := benchRegistry(b)
	key := entry("getById", "1", "")
	fill(b, r, key, kilobyte)
	if err := client.Set(b.Context(), "plain", kilobyte, time.Hour).Err(); err != nil {
		b.Fatal(err)
	}
	b.Run("plain GET", func(b *testing.B) {
		for b.Loop() {
			if err := client.Get(b.Context(), "plain").Err(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if lookup, err := r.Read(b.Context(), key); err != nil || !lookup.Hit {
				b.Fatal(lookup.Hit, err)
			}
		}
	})
}

// What a fill costs next to the plainest write there is.
func BenchmarkFill(b *testing.B) {
	r, client := benchRegistry(b)
	b.Run("plain SET EX", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if err := client.Set(b.Context(), fmt.Sprint("plain", i%10_000), kilobyte, time.Hour).Err(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Set", func(b *testing.B) {
		token := lease(b, r, entry("getById", "token", "")).Token
		for i := 0; b.Loop(); i++ {
			filled, err := r.Set(b.Context(), entry("getById", fmt.Sprint(i%10_000), ""), []byte(kilobyte), token)
			if err != nil || filled.Outcome != Stored {
				b.Fatal(filled.Outcome, err)
			}
		}
	})
}

// The time to effect does not depend on the number of keys.
func BenchmarkInvalidate(b *testing.B) {
	for _, count := range []int{10, 1000, 10_000} {
		b.Run(fmt.Sprint(count, " keys"), func(b *testing.B) {
			r, _ := benchRegistry(b)
			for b.Loop() {
				b.StopTimer()
				fillMany(b, r, "list", "", count)
				b.StartTimer()
				if result := invalidate(b, r, users, Scope{Operation: "list"}); result.Keys != int64(count) {
					b.Fatalf("%+v", result)
				}
				b.StopTimer()
				reclaimAll(b, r, users)
				b.StartTimer()
			}
		})
	}
}
