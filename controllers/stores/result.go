// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/registry"
)

// ProbeResult is what the last probe of a store found.
type ProbeResult struct {
	// Version of the CacheStore that was probed; empty for the default store.
	Version Version
	// Err says why it cannot be used; nil: it can. While the same trouble lasts it stays the first
	// one, so that statuses stay.
	Err error
	// Health is what the store was when it last could be used.
	Health registry.Health
	// KeepsLibrary says that the store has an older function library than the operator, whose user may
	// not load another.
	KeepsLibrary bool
	// Totals of its modules, as last read; nil: not yet.
	Totals *stats.Totals
	// Unclaimed names of a CacheStore, as last read; nil: not yet.
	Unclaimed *stats.Unclaimed
}
