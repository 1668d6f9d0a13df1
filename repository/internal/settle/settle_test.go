// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package settle_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/repository/internal/settle"
)

const patience = time.Minute

// Rows of the outbox are removed some time after their commit. An answer that comes later, as to a
// process that was frozen, proves nothing.
func TestALateAnswerDoesNotProveARollback(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		after    time.Duration
		answer   settle.Outcome
		expected settle.Outcome
	}{
		{"in time", time.Second, settle.RolledBack, settle.RolledBack},
		{"late", patience, settle.RolledBack, settle.Unknown},
		{"late, but committed", patience, settle.Committed, settle.Committed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				attempt := settle.Attempt{
					Commit:  func() error { return errors.New("the connection is lost") },
					Cancel:  func() {},
					Final:   func(error) bool { return false },
					Abandon: func() {},
					Ask: func(context.Context) (settle.Outcome, error) {
						time.Sleep(c.after)
						return c.answer, nil
					},
					Due:  func() <-chan time.Time { return nil },
					Keep: func(context.Context) {},
				}
				if got := attempt.Settle(ctx); got.Outcome != c.expected {
					t.Errorf("the outcome is %d, not %d: %v", got.Outcome, c.expected, got.Err)
				}
			})
		})
	}
}
