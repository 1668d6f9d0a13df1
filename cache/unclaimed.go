// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"github.com/cachewright/cachewright/cache/internal/catalog"
	"github.com/cachewright/cachewright/cache/internal/failure"
	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/unclaimed"
)

// ErrUnclaimed says that no CachePolicy lists a module or operation that the application uses, so
// nothing is cached under that name. No method returns it. The log and WithFailureHook get it once
// for each name, up to 64 names.
var ErrUnclaimed = unclaimed.ErrUnclaimed

func newUnclaimed(
	store *gateway.Gateway, o options, known *catalog.Modules, failures *failure.Reports,
) *unclaimed.Names {
	return unclaimed.New(unclaimed.Config{
		Namespace: o.namespace, Redis: store, Logger: o.logger, Hook: o.hook(),
		Cached:   func() bool { return len(known.Known()) > 0 },
		Panicked: failures.Panicked,
	})
}
