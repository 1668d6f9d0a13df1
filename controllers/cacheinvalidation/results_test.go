// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheinvalidation

import (
	"slices"
	"testing"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
)

func TestALaterAttemptTakesNothingFromWhatIsRecorded(t *testing.T) {
	invalidation := controllertest.Invalidation(make([]v1.InvalidationTarget, 4)...)
	invalidation.Status.Targets = []v1.TargetResult{
		{Modules: 1, KeysInvalidated: 2},                       // it took effect
		{Modules: 1, KeysInvalidated: 5, Message: "1 is down"}, // in a part of its modules
		{Message: "held up"},
	}
	attempt := &callProgress{targets: []targetProgress{
		{}, {result: v1.TargetResult{Modules: 2, KeysInvalidated: 4}}, {}, {result: v1.TargetResult{Modules: 1, KeysInvalidated: 3}},
	}}
	want := []v1.TargetResult{
		{Modules: 1, KeysInvalidated: 2}, {Modules: 2, KeysInvalidated: 5, Message: "1 is down"}, {Message: "held up"}, {Modules: 1, KeysInvalidated: 3},
	}
	if got := attempt.resultsOf(invalidation); !slices.Equal(got, want) {
		t.Errorf("results are %+v; want %+v", got, want)
	}
}
