// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/internal/redistest/hostile"
	"github.com/cachewright/cachewright/internal/respguard"
)

// A server may announce more bytes than the process has memory. A client that the application made
// must not trust it.
func TestClientOfAnApplicationReadsNoReplyWithoutBounds(t *testing.T) {
	server := redistest.Start(t)
	for role, made := range map[hostile.Role]func(addr string) redis.UniversalClient{
		hostile.Standalone: func(addr string) redis.UniversalClient {
			return redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1})
		},
		hostile.ClusterNode: func(addr string) redis.UniversalClient {
			return redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}, ContextTimeoutEnabled: true, MaxRedirects: -1})
		},
	} {
		t.Run(role.String(), func(t *testing.T) {
			misbehaving := hostile.Start(t, server.Addr(), role, hostile.Fault{})
			client := made(misbehaving.Addr())
			t.Cleanup(func() { _ = client.Close() })
			if _, err := New(client, "shop"); err != nil {
				t.Fatal(err)
			}
			for _, fault := range hostile.Faults([]string{"GET"}) {
				if fault.Way.Name != "longest bulk" && fault.Way.Name != "bulk of 40 GiB" {
					continue
				}
				misbehaving.Misbehave(fault)
				var violation *respguard.Violation
				if err := client.Get(t.Context(), "key").Err(); !errors.As(err, &violation) {
					t.Errorf("%s: %v", fault, err)
				}
			}
			if misbehaving.Misbehaved() != 2 {
				t.Errorf("it misbehaved %d times", misbehaving.Misbehaved())
			}
		})
	}
}
