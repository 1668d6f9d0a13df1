// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package respguard

import (
	"context"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cachewright/cachewright/internal/redistest"
)

// BenchmarkHit reads what a hit reads, with and without the guard in turns, and reports the CPU
// time of this process.
func BenchmarkHit(b *testing.B) {
	server := redistest.Start(b)
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	clients := map[string]*redis.Client{}
	for name, dialer := range map[string]Dial{"plain": dial, "guarded": Dialer(dial, Application)} {
		clients[name] = redis.NewClient(&redis.Options{
			Addr: server.Addr(), Dialer: dialer, MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
		b.Cleanup(func() { _ = clients[name].Close() })
	}
	for key, size := range map[string]int{"entry": 251, "module": 11, "operation": 22} {
		if err := clients["plain"].Set(b.Context(), key, strings.Repeat("a", size), 0).Err(); err != nil {
			b.Fatal(err)
		}
	}
	for round := range 5 {
		for _, name := range []string{"plain", "guarded"} {
			b.Run(fmt.Sprintf("%s-%d", name, round), func(b *testing.B) {
				before := cpuTime(b)
				for b.Loop() {
					if err := clients[name].MGet(b.Context(), "entry", "module", "operation").Err(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

func cpuTime(b *testing.B) int64 {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}
