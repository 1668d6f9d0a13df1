// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"slices"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// At rest no fence is looked at; a new module is only marked; what another incarnation serves is in doubt.
func TestFencesAreLookedAtWhereSomethingChanged(t *testing.T) {
	users, posts := registry.Slot{Namespace: "shop", Module: "users"}, registry.Slot{Namespace: "shop", Module: "posts"}
	served := func(runID string) (registry.Health, registry.Incarnation) {
		primary := registry.Primary{RunID: runID, ReplicationID: "r"}
		return registry.Health{Primaries: []registry.Primary{primary}}, primary.Incarnation()
	}
	var f fenced
	steps := []struct {
		name            string
		runID           string
		unknown         bool // what serves the slots is not known
		slots           []registry.Slot
		young, doubtful []registry.Slot
	}{
		{name: "the first look", runID: "a", slots: []registry.Slot{users}, doubtful: []registry.Slot{users}},
		{name: "at rest", runID: "a", slots: []registry.Slot{users}},
		{name: "a new module", runID: "a", slots: []registry.Slot{users, posts}, young: []registry.Slot{posts}},
		{name: "a primary that has just joined", runID: "a", unknown: true, slots: []registry.Slot{users, posts}},
		{name: "at rest again", runID: "a", slots: []registry.Slot{users, posts}},
		{name: "a restart", runID: "b", slots: []registry.Slot{users, posts}, doubtful: []registry.Slot{users, posts}},
		{name: "at rest after it", runID: "b", slots: []registry.Slot{users, posts}},
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
		if !slices.Equal(got.young, step.young) || !slices.Equal(got.doubtful, step.doubtful) {
			t.Errorf("%s: young %v, in doubt %v; want %v and %v", step.name, got.young, got.doubtful, step.young, step.doubtful)
		}
		f.remember(health, step.slots, serving)
	}
}

func TestTheJournalKnowsWhatItDoesNotKnow(t *testing.T) {
	began := time.Now()
	var j journal
	if j.covers(began) {
		t.Error("it covers a time before it began")
	}
	j.begin(began)
	for _, test := range []struct {
		name  string
		since time.Time
		want  bool
	}{{"no sign of life", time.Time{}, false}, {"before it began", began.Add(-time.Second), false}, {"since it began", began.Add(time.Second), true}} {
		if got := j.covers(test.since); got != test.want {
			t.Errorf("%s: covered: %t", test.name, got)
		}
	}
	for i := range journalLen + 1 {
		purge := purgeOf(v1.InvalidationTarget{All: true})
		purge.Name, purge.Status.EffectiveTime = strconv.Itoa(i), new(metav1.NewMicroTime(began.Add(time.Duration(i)*time.Minute)))
		j.forget(purge)
	}
	if len(j.deleted) != journalLen || j.covers(began.Add(time.Millisecond)) || !j.covers(began.Add(time.Minute)) {
		t.Errorf("of %d deletions it keeps %d, and covers from %s on", journalLen+1, len(j.deleted), j.began)
	}
}
