// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

func TestNextStats(t *testing.T) {
	now := time.Now()
	shown := func(age time.Duration) *v1.CacheStats {
		return &v1.CacheStats{ObservedTime: metav1.NewTime(now.Add(-age)), Keys: 5, MemoryBytes: 1000}
	}
	tests := []struct {
		name  string
		shown *v1.CacheStats
		read  *registry.Stats
		fresh bool
	}{
		{"nothing shown yet", nil, &registry.Stats{}, true},
		{"nothing read", shown(time.Hour), nil, false},
		{"changed, and it is time", shown(time.Hour), &registry.Stats{Keys: 6, MemoryBytes: 1000}, true},
		{"changed, too early", shown(time.Second), &registry.Stats{Keys: 6, MemoryBytes: 1000}, false},
		{"unchanged", shown(time.Hour), &registry.Stats{Keys: 5, MemoryBytes: 1000}, false},
		{"another estimate of the same memory", shown(time.Hour), &registry.Stats{Keys: 5, MemoryBytes: 1900}, false},
		{
			"counters of an operation", shown(time.Hour),
			&registry.Stats{Keys: 5, Operations: map[string]registry.OperationStats{"list": {Fills: 1}}}, true,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := NextStats(test.shown, test.read, now, time.Minute)
			if fresh := got != test.shown; fresh != test.fresh {
				t.Errorf("shows fresh statistics: %t; want %t", fresh, test.fresh)
			}
		})
	}
}
