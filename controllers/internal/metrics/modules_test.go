// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/registry"
)

// Names of operations come from stores. Prometheus panics over a label that is no UTF-8, in a
// goroutine of its own.
func TestANameThatIsNoLabelHoldsUpNoOtherSeries(t *testing.T) {
	snapshot := stats.NewSnapshot()
	metrics := New(snapshot)
	policy := controllertest.UsersPolicy()
	snapshot.Put(policy, registry.Stats{Operations: map[string]registry.OperationStats{"\xff": {Keys: 1}, "list": {Keys: 1}}})
	invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
	invalidation.Status.KeysInvalidated = new(int64(-5))
	metrics.CountFinished(invalidation)
	gathered := prometheus.NewRegistry()
	gathered.MustRegister(metrics)
	families, err := gathered.Gather()
	if err != nil {
		t.Fatal(err)
	}
	keys := 0
	for _, family := range families {
		if family.GetName() == "cachewright_operation_keys" {
			keys += len(family.GetMetric())
		}
	}
	if keys != 1 {
		t.Errorf("%d operations have statistics, want 1", keys)
	}
}

func TestHeldReadsAreNoMisses(t *testing.T) {
	snapshot := stats.NewSnapshot()
	snapshot.Put(controllertest.UsersPolicy(), registry.Stats{Operations: map[string]registry.OperationStats{"list": {HeldReads: 3, Misses: 2}}})
	metrics := New(snapshot)
	for name, want := range map[string]float64{"cachewright_operation_held_reads_total": 3, "cachewright_operation_misses_total": 2} {
		if got := valuesOf(t, metrics, name); !slices.Equal(got, []float64{want}) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}
