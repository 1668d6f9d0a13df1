// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"cmp"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// MaxOperations is what the API allows.
const MaxOperations = 256

// Stats returns statistics for a status.
func Stats(stats registry.Stats, now time.Time) *v1.CacheStats {
	snapshot := &v1.CacheStats{
		ObservedTime: metav1.NewTime(now),
		Keys:         stats.Keys,
		MemoryBytes:  stats.MemoryBytes,
		PendingKeys:  stats.Pending,
	}
	for _, operation := range stats.Operations {
		snapshot.Hits += operation.Hits
		snapshot.StaleHits += operation.Stale
		snapshot.Misses += operation.Misses
	}
	snapshot.HitRatio = hitRatio(snapshot.Hits+snapshot.StaleHits, snapshot.Misses)
	for _, name := range Busiest(stats.Operations, MaxOperations) {
		operation := stats.Operations[name]
		snapshot.Operations = append(snapshot.Operations, v1.OperationStats{
			Name:          name,
			Keys:          operation.Keys,
			Hits:          operation.Hits,
			StaleHits:     operation.Stale,
			Misses:        operation.Misses,
			Fills:         operation.Fills,
			FencedFills:   operation.Fenced,
			Invalidations: operation.Invalidations,
			HitRatio:      hitRatio(operation.Hits+operation.Stale, operation.Misses),
		})
	}
	return snapshot
}

func hitRatio(hits, misses int64) string {
	if hits+misses == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f%%", 100*float64(hits)/float64(hits+misses))
}

// Busiest returns the names of the operations that are read most, up to a limit, sorted by name.
// Applications may use any bytes as names. Neither JSON nor Prometheus can hold names that are not
// text, so those are left out.
func Busiest(operations map[string]registry.OperationStats, limit int) []string {
	var names []string
	for name := range operations {
		if utf8.ValidString(name) {
			names = append(names, name)
		}
	}
	reads := func(name string) int64 {
		return operations[name].Hits + operations[name].Stale + operations[name].Misses
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(reads(b), reads(a)), cmp.Compare(a, b))
	})
	names = names[:min(limit, len(names))]
	slices.Sort(names)
	return names
}

// NextStats decides what the statistics in a status become. They change at most once an interval,
// and only if they differ. The estimate of memory does not count, as no two are the same.
func NextStats(
	shown *v1.CacheStats, read *registry.Stats, now time.Time, interval time.Duration,
) *v1.CacheStats {
	if read == nil {
		return shown
	}
	fresh := Stats(*read, now)
	if shown == nil {
		return fresh
	}
	unchanged := *fresh
	unchanged.ObservedTime, unchanged.MemoryBytes = shown.ObservedTime, shown.MemoryBytes
	if equality.Semantic.DeepEqual(shown, &unchanged) || now.Sub(shown.ObservedTime.Time) < interval {
		return shown
	}
	return fresh
}
