// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	v1 "github.com/cachewright/cachewright/api/v1"
)

func TestADeletionWaitsLongerForAStoreThatAnswers(t *testing.T) {
	deleted := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	obj := &v1.CacheStore{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{Time: deleted}}}
	for _, test := range []struct {
		after, remaining   time.Duration
		overdue, abandoned bool
	}{
		{0, time.Minute, false, false},
		{time.Minute - 1, 1, false, false},
		{time.Minute, 0, true, false},
		{AbandonAfter*time.Minute - 1, -9*time.Minute + 1, true, false},
		{AbandonAfter * time.Minute, -9 * time.Minute, true, true},
	} {
		d := Deletion{Timeout: time.Minute, Clock: clocktesting.NewFakePassiveClock(deleted.Add(test.after))}
		if got := d.Remaining(obj); got != test.remaining {
			t.Errorf("after %s it waits %s", test.after, got)
		}
		if overdue, abandoned := d.IsOverdue(obj), d.IsAbandoned(obj); overdue != test.overdue || abandoned != test.abandoned {
			t.Errorf("after %s: overdue %t, abandoned %t", test.after, overdue, abandoned)
		}
	}
}
