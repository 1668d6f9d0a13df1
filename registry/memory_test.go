// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"strconv"
	"testing"
	"time"
)

// What an entry of 1 KiB costs in all: its key, the header and the payload by MEMORY USAGE, and
// what lies beside it.
func BenchmarkMemoryOfAnEntry(b *testing.B) {
	const entries = 100_000
	r, client := benchRegistry(b)
	fill(b, r, entry("list", "0", ""), kilobyte)
	before := usedMemory(b, client)
	b.ResetTimer()
	for b.Loop() {
		fillCount(b, r, "list", "", entries, kilobyte)
	}
	all := (usedMemory(b, client) - before) / entries
	own, err := client.MemoryUsage(b.Context(), entry("list", strconv.Itoa(entries/2), "").appendReadKeys(nil)[0]).Result()
	if err != nil {
		b.Fatal(err)
	}
	if err := client.Set(b.Context(), entry("plain", strconv.Itoa(entries/2), "").appendReadKeys(nil)[0], kilobyte, time.Hour).Err(); err != nil {
		b.Fatal(err)
	}
	plain, err := client.MemoryUsage(b.Context(), entry("plain", strconv.Itoa(entries/2), "").appendReadKeys(nil)[0]).Result()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(all), "B/entry-in-all")
	b.ReportMetric(float64(own), "B/entry-by-memory-usage")
	b.ReportMetric(float64(plain), "B/plain-by-memory-usage")
}
