// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"reflect"
	"testing"

	"github.com/cachewright/cachewright/registry"
)

// At rest no fence is looked at; a new module is only marked, but on a server that began with data it is fenced; what another
// incarnation serves is in doubt.
func TestFencesAreLookedAtWhereSomethingChanged(t *testing.T) {
	users, posts, late := registry.Slot{Namespace: "shop", Module: "users"}, registry.Slot{Namespace: "shop", Module: "posts"},
		registry.Slot{Namespace: "shop", Module: "late"}
	served := func(runID string) (registry.Health, registry.Incarnation) {
		primary := registry.Primary{RunID: runID, ReplicationID: "r"}
		if runID == "b" {
			primary.RestoredKeys = 1
		}
		return registry.Health{Primaries: []registry.Primary{primary}}, primary.Incarnation()
	}
	var f fenced
	steps := []struct {
		name    string
		runID   string
		unknown bool // what serves the slots is not known
		slots   []registry.Slot

		young, late, doubtful []registry.Slot
	}{
		{name: "the first look", runID: "a", slots: []registry.Slot{users}, doubtful: []registry.Slot{users}},
		{name: "at rest", runID: "a", slots: []registry.Slot{users}},
		{name: "a new module", runID: "a", slots: []registry.Slot{users, posts}, young: []registry.Slot{posts}},
		{name: "a primary that has just joined", runID: "a", unknown: true, slots: []registry.Slot{users, posts}},
		{name: "at rest again", runID: "a", slots: []registry.Slot{users, posts}},
		{name: "a restart", runID: "b", slots: []registry.Slot{users, posts}, doubtful: []registry.Slot{users, posts}},
		{name: "at rest after it", runID: "b", slots: []registry.Slot{users, posts}},
		{name: "a new module where there is old data", runID: "b", slots: []registry.Slot{users, posts, late}, late: []registry.Slot{late}},
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
		got := f.due(step.slots, serving)
		if want := (due{step.young, step.late, step.doubtful}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", step.name, got, want)
		}
		f.remember(health, step.slots, serving, nil)
	}
}
