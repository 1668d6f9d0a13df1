// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package fence

import (
	"errors"
	"fmt"

	"github.com/cachewright/cachewright/registry"
)

// disable stops the Guard: it needs INFO to know which server answers, and GETEX to know whether a
// module is fenced.
func (g *Guard) disable(err error) {
	if g.disabled.Swap(true) {
		return
	}
	remedy := "allow its user INFO and GETEX (+info +getex), as docs/operations.md does"
	if errors.Is(err, registry.ErrAnonymous) && !errors.Is(err, registry.ErrUnauthorized) {
		remedy = "have the server answer INFO, under this name, with run_id or master_replid, " +
			"or invalidate the modules after a restart"
	}
	g.report(fmt.Errorf(
		"a restart of Redis with an old snapshot, or a failover to a replica that lags, "+
			"will not be noticed by this process: %s: %w", remedy, err))
}
