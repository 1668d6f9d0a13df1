// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/registry"
)

// What is in force of a policy depends on the library.
func TestEveryResourceIsReconciledWhenTheLibraryIsAnother(t *testing.T) {
	s := &state{clock: clocktesting.NewFakePassiveClock(time.Now())}
	for i, step := range []struct {
		library int
		all     bool
	}{
		{registry.OldestLibrary, false}, // the first probe
		{registry.OldestLibrary, false},
		{registry.LibraryVersion, true},
		{registry.LibraryVersion, false},
		{registry.OldestLibrary, true},
	} {
		health := controllertest.Healthy("a")
		health.LibraryVersion = step.library
		if t1 := s.record(ProbeResult{Health: health}, status.Location{}); t1.concernsAll != step.all || i > 0 && t1.restored {
			t.Errorf("probe %d: got %+v", i, t1)
		}
	}
}
