// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"testing"
	"time"

	"github.com/onsi/gomega"

	"github.com/cachewright/cachewright/internal/redistest"
)

// A sign of life is of the state that it is found in.
func TestASignOfLifeTellsTheAgeOfAState(t *testing.T) {
	server := redistest.Start(t)
	r := registryOn(t, server.Client())
	alive := func() time.Time {
		t.Helper()
		last, err := r.LastAlive(t.Context(), users)
		if err != nil {
			t.Fatal(err)
		}
		return last
	}
	if last := alive(); !last.IsZero() {
		t.Errorf("at first: %s", last)
	}
	saved := time.UnixMilli(1_700_000_000_000)
	for _, now := range []time.Time{saved, saved.Add(time.Hour)} {
		if err := r.Alive(t.Context(), []Slot{users}, now); err != nil {
			t.Fatal(err)
		}
		if last := alive(); !last.Equal(now) {
			t.Errorf("left %s, found %s", now, last)
		}
		if now.Equal(saved) {
			server.Save()
		}
	}
	server.Restart()
	r = registryOn(t, server.Client())
	if last := alive(); !last.Equal(saved) {
		t.Errorf("after the restart %s, want %s", last, saved)
	}
}

func TestServingFollowsAReshard(t *testing.T) {
	cluster := redistest.StartCluster(t, 2)
	r := New(cluster.Client())
	serving := func() Incarnation {
		t.Helper()
		health, err := r.Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		found, err := r.Serving(t.Context(), health, []Slot{users})
		if err != nil || found[0] == "" {
			t.Fatalf("served by %q (%v)", found, err)
		}
		return found[0]
	}
	before := serving()
	if fence := fenceOf(t, r, users); fence.Incarnation != before {
		t.Errorf("served by %s, fenced in %s", before, fence.Incarnation)
	}
	cluster.MoveSlot(users.key())
	eventually(t, serving).ShouldNot(gomega.Equal(before))
}
