// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"testing"

	"github.com/onsi/gomega"

	"github.com/cachewright/cachewright/internal/redistest"
)

func TestServingFollowsAReshard(t *testing.T) {
	t.Parallel()
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
	cluster.MoveSlot(keyOf(users))
	eventually(t, serving).ShouldNot(gomega.Equal(before))
}
