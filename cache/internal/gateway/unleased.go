// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// oldLibraryPause is for how long loads take leases after the library refused a fill without one.
// The operator may replace it at any time.
const oldLibraryPause = time.Minute

// unleased remembers for a while that the library wants leases.
type unleased struct{ refusedUntil atomic.Int64 }

func (u *unleased) areRefused() bool { return time.Now().UnixNano() < u.refusedUntil.Load() }

func (u *unleased) refuse() { u.refusedUntil.Store(time.Now().Add(oldLibraryPause).UnixNano()) }

// Unleased reports whether a load of a module may begin with the token of a read. Like a lease, it
// must not while Redis takes no fills.
func (g *Gateway) Unleased(module string) bool {
	if g.unleased.areRefused() {
		return false
	}
	if _, err := g.admit(use{module, Filling}); err != nil {
		return false
	}
	g.config.Hooks.Leased(module)
	return true
}

// forgive takes it for no failure that an older library refused the token of a read. Nothing was
// stored, and the next loads take leases.
func (g *Gateway) forgive(fills []registry.Fill, filled []registry.FillResult) {
	for i := range filled {
		if fills[i].Token.Unleased() && errors.Is(filled[i].Err, registry.ErrLibraryTooOld) {
			g.unleased.refuse()
			filled[i].Err = nil
		}
	}
}
