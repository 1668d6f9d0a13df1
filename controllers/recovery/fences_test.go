// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"reflect"
	"testing"

	"github.com/cachewright/cachewright/registry"
)

// At rest no fence is read. A new module is only marked, but fenced on a server that began with
// data. What another incarnation serves is suspect.
func TestFencesAreReadWhereSomethingChanged(t *testing.T) {
	users, posts, late := registry.Slot{Namespace: "shop", Module: "users"}, registry.Slot{Namespace: "shop", Module: "posts"},
		registry.Slot{Namespace: "shop", Module: "late"}
	served := func(runID string) (registry.Health, registry.Incarnation) {
		primary := registry.Primary{RunID: runID, ReplicationID: "r"}
		if runID == "b" {
			primary.RestoredKeys = 1
		}
		return registry.Health{Primaries: []registry.Primary{primary}}, primary.Incarnation()
	}
	var k knownFences
	steps := []struct {
		name    string
		runID   string
		unknown bool // what serves the slots is not known
		slots   []registry.Slot

		new, uncovered, suspect []registry.Slot
	}{
		{name: "the first probe", runID: "a", slots: []registry.Slot{users}, suspect: []registry.Slot{users}},
		{name: "at rest", runID: "a", slots: []registry.Slot{users}},
		{name: "a new module", runID: "a", slots: []registry.Slot{users, posts}, new: []registry.Slot{posts}},
		{name: "a primary that has just joined", runID: "a", unknown: true, slots: []registry.Slot{users, posts}},
		{name: "at rest again", runID: "a", slots: []registry.Slot{users, posts}},
		{name: "a restart", runID: "b", slots: []registry.Slot{users, posts}, suspect: []registry.Slot{users, posts}},
		{name: "at rest after it", runID: "b", slots: []registry.Slot{users, posts}},
		{name: "a new module where there is old data", runID: "b", slots: []registry.Slot{users, posts, late}, uncovered: []registry.Slot{late}},
		{name: "at rest after that", runID: "b", slots: []registry.Slot{users, posts, late}},
	}
	for _, step := range steps {
		health, incarnation := served(step.runID)
		serving := make([]registry.Incarnation, len(step.slots))
		for i := range serving {
			if !step.unknown {
				serving[i] = incarnation
			}
		}
		got := k.pending(step.slots, serving)
		if want := (pendingFences{step.new, step.uncovered, step.suspect}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", step.name, got, want)
		}
		k.remember(health, step.slots, serving, nil)
	}
}
