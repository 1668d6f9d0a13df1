// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheinvalidation

import (
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/cacheinvalidation/targets"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/status"
)

func TestInvalidationStatus(t *testing.T) {
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	now := created.Add(10 * time.Second)
	invalidated := func(keys, pending int64) []v1.TargetResult {
		return []v1.TargetResult{{Modules: 1, KeysInvalidated: keys, KeysPending: pending, Message: "nothing is cached for module users"}}
	}
	inEffect := func(keys, pending int64) v1.CacheInvalidationStatus {
		return v1.CacheInvalidationStatus{
			EffectiveTime: &metav1.MicroTime{Time: created}, KeysInvalidated: &keys, KeysReclaimed: new(int64(0)),
			Targets: invalidated(keys, pending),
		}
	}
	down := status.Classify(controllertest.ErrDown, status.Location{Address: "r:6379"})
	tests := []struct {
		name      string
		before    v1.CacheInvalidationStatus
		dryRun    bool
		found     findings
		state     v1.InvalidationState
		ready     string
		reclaimed int64
	}{
		{
			name: "small", found: findings{results: invalidated(5, 0), effective: now},
			state: v1.StateComplete, ready: "True Invalidated", reclaimed: 5,
		},
		{
			name: "nothing matched", found: findings{results: invalidated(0, 0), effective: now},
			state: v1.StateComplete, ready: "True NothingMatched",
		},
		{
			name: "dry run", dryRun: true, found: findings{results: invalidated(5, 5), effective: now},
			state: v1.StateCounted, ready: "True Counted",
		},
		{
			name: "large", found: findings{results: invalidated(5000, 4000), effective: now},
			state: v1.StateReclaiming, ready: "False Reclaiming", reclaimed: 1000,
		},
		{
			name: "large, on its way", before: inEffect(5000, 5000), found: findings{pending: new(int64(1000))},
			state: v1.StateReclaiming, ready: "False Reclaiming", reclaimed: 4000,
		},
		{
			name: "others purge the same module", before: inEffect(5000, 5000), found: findings{pending: new(int64(9000))},
			state: v1.StateReclaiming, ready: "False Reclaiming", reclaimed: 0,
		},
		{
			name: "large, done", before: inEffect(5000, 5000), found: findings{pending: new(int64(0))},
			state: v1.StateComplete, ready: "True Invalidated", reclaimed: 5000,
		},
		{
			name: "store down before", found: findings{met: down},
			state: v1.StatePending, ready: "False StoreUnreachable",
		},
		{
			name: "store down between targets", found: findings{results: invalidated(5, 0), met: down},
			state: v1.StatePending, ready: "False StoreUnreachable",
		},
		{
			name: "store lost while reclaiming", before: inEffect(5000, 5000), found: findings{met: down},
			state: v1.StateReclaiming, ready: "False StoreUnreachable",
		},
		{
			name: "store lost while reclaiming, too late", before: inEffect(5000, 5000), found: findings{met: down, late: true},
			state: v1.StateComplete, ready: "True Invalidated",
		},
		{
			name: "reclaiming past the deadline", before: inEffect(5000, 5000),
			found: findings{pending: new(int64(1000)), late: true},
			state: v1.StateReclaiming, ready: "False Reclaiming", reclaimed: 4000,
		},
		{
			name: "too late", found: findings{late: true},
			state: v1.StateFailed, ready: "False DeadlineExceeded",
		},
		{
			name: "refused", found: findings{results: invalidated(5, 0), refused: 1, effective: now},
			state: v1.StateFailed, ready: "False Rejected",
		},
		{
			name:  "refused, and another target is held up",
			found: findings{results: invalidated(0, 0), refused: 1, met: status.Classify(controllertest.ErrDamaged, status.Location{Address: "r:6379"})},
			state: v1.StatePending, ready: "False StoreUnreachable",
		},
		{
			name: "Redis too old", found: findings{met: status.Classify(controllertest.ErrOld, status.Location{Address: "r:6379"})},
			state: v1.StatePending, ready: "False StoreUnsupported",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
			invalidation.Generation, invalidation.CreationTimestamp = 1, metav1.NewTime(created)
			invalidation.Spec.DryRun, invalidation.Spec.ActiveDeadlineSeconds = test.dryRun, new(int64(10))
			invalidation.Status = test.before
			test.found.began = now
			before := invalidation.DeepCopy()

			invalidation.Status = statusOf(invalidation, test.found, now)

			s := invalidation.Status
			if s.State != test.state || controllertest.Ready(s.Conditions) != test.ready {
				t.Errorf("state %s, ready %q; want %s and %q", s.State, controllertest.Ready(s.Conditions), test.state, test.ready)
			}
			var reclaimed int64
			if s.KeysReclaimed != nil {
				reclaimed = *s.KeysReclaimed
			}
			if reclaimed != test.reclaimed {
				t.Errorf("reclaimed %d; want %d", reclaimed, test.reclaimed)
			}
			broken := append(controllertest.Violations(invalidation), controllertest.TransitionViolations(before, invalidation)...)
			if len(broken) > 0 {
				t.Errorf("rules broken: %v: %+v", broken, s)
			}
		})
	}
}

func TestThePurgeSaysWhichTargetsMissed(t *testing.T) {
	hit := v1.TargetResult{Modules: 1, KeysInvalidated: 4}
	miss := v1.TargetResult{Modules: 1, Message: "no such operation: lst"}
	unlisted := v1.TargetResult{Modules: 2, KeysInvalidated: 1, Message: targets.MissedModules}
	for want, results := range map[string][]v1.TargetResult{
		"keys invalidated: 4": {hit},
		"keys invalidated: 4. 1 of 2 targets matched nothing: targets[1]: no such operation: lst":                                                                                                  {hit, miss},
		"keys invalidated: 1. " + targets.MissedModules:                                                                                                                                            {unlisted},
		"keys invalidated: 1. 1 of 2 targets matched nothing: targets[0]: no such operation: lst. " + targets.MissedModules:                                                                        {miss, unlisted},
		"keys invalidated: 4. 4 of 5 targets matched nothing: targets[0]: " + strings.Repeat("no such operation: lst; targets[%]: ", 2) + "no such operation: lst; and 1 more, see status.targets": {miss, miss, miss, miss, hit},
		"in effect, and no key matched: no such operation: lst":                                                                                                                                    {miss},
		"in effect, and no key matched: status.targets says why":                                                                                                                                   {miss, miss},
	} {
		invalidation := controllertest.Invalidation(make([]v1.InvalidationTarget, len(results))...)
		now := time.Now()
		next := statusOf(invalidation, findings{began: now, effective: now, results: results}, now)
		for i := range 2 {
			want = strings.Replace(want, "%", strconv.Itoa(i+1), 1)
		}
		if got := status.Ready(next.Conditions).Message; got != want {
			t.Errorf("says %q; want %q", got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	// Creation is noted in whole seconds, cut: it may have been up to a second later.
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		name             string
		began, effective time.Duration
		want             string
	}{
		{"at once", 900 * time.Millisecond, 903 * time.Millisecond, "3ms"},
		{"after the operator was away", 90 * time.Second, 90*time.Second + 3*time.Millisecond, "89s"},
		{"with a clock that is behind", -5 * time.Second, -5*time.Second + 2*time.Millisecond, "2ms"},
		{"too fast to be measured", 0, 0, "<1ms"},
		{"in microseconds", 900 * time.Millisecond, 900*time.Millisecond + 300*time.Microsecond, "<1ms"},
		{"slowly", 0, 700 * time.Millisecond, "700ms"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := humanDuration(leastDuration(created, created.Add(test.began), created.Add(test.effective)))
			if got != test.want {
				t.Errorf("%s; want %s", got, test.want)
			}
		})
	}
}
