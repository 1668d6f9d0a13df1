// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Many fills of all sizes, some of them given up, leave nothing in Redis that was not the payload
// of one.
func TestFillsDoNotSeeEachOthersPayloads(t *testing.T) {
	_, plain := newRegistry(t)
	client := redis.NewClient(&redis.Options{Addr: plain.Options().Addr, ContextTimeoutEnabled: true})
	defer client.Close()
	r := New(client)
	apply(t, r, users, Policy{DefaultTTL: new(time.Hour)})
	token := lease(t, r, entry("list", "token", "")).Token
	var group sync.WaitGroup
	for writer := range 8 {
		group.Go(func() {
			for n := range 300 {
				payload := bytes.Repeat([]byte{byte('a' + writer)}, 1+rand.IntN(128<<10))
				timeout, hurried := time.Minute, (n+writer)%3 == 0
				if hurried {
					timeout = rand.N(300 * time.Microsecond)
				}
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				_, err := r.Set(ctx, entry("list", fmt.Sprint(n), ""), payload, token)
				cancel()
				if err != nil && !hurried {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	for n := range 300 {
		found, err := r.Read(t.Context(), entry("list", fmt.Sprint(n), ""))
		if err != nil || !found.Hit {
			t.Fatalf("entry %d: %t, %v", n, found.Hit, err)
		}
		if first := found.Payload[:1]; bytes.Count(found.Payload, first) != len(found.Payload) {
			t.Errorf("entry %d is of more than one payload", n)
		}
	}
}
