// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package fence

import (
	"errors"
	"fmt"

	"github.com/cachewright/cachewright/internal/contain"
	"github.com/cachewright/cachewright/registry"
)

// blindedBy gives up: without INFO nobody can tell who answers, and without GETEX whether a module is fenced.
func (g *Guard) blindedBy(err error) {
	if g.blind.Swap(true) {
		return
	}
	remedy := "allow its user INFO and GETEX (+info +getex), as docs/operations.md does"
	if errors.Is(err, registry.ErrAnonymous) && !errors.Is(err, registry.ErrUnauthorized) {
		remedy = "have the server answer INFO, under this name, with run_id or master_replid, or invalidate the modules after a restart"
	}
	g.tell(fmt.Errorf("a restart of Redis with an old snapshot, or a failover to a replica that lags, will not be noticed by "+
		"this process: %s: %w", remedy, err))
}

// contained turns a panic into an error: singleflight would panic on a goroutine where nobody can recover, and go-redis
// dials on goroutines of its own.
func contained(do func() error) (err error) {
	defer contain.Panic(&err, registry.ErrMisbehaves)
	return do()
}
