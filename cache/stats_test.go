// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/registry"
)

func TestRejectedCountsAreGivenUp(t *testing.T) {
	store := &stubStore{OnReport: func(context.Context, registry.Slot, string, registry.Counters) error { return registry.ErrRejected }}
	withClient(t, store, func(t *testing.T, c *Client) {
		c.reports.Add("users", "get", registry.Counters{Hits: 1})
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := store.Called("report"); got != 1 {
			t.Errorf("reported %d times, want once", got)
		}
	})
}
