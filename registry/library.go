// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	_ "embed"

	"github.com/cachewright/cachewright/registry/internal/library"
	"github.com/cachewright/cachewright/registry/internal/primary"
)

// Library is the source of the function library: the files in lua, which "make library"
// concatenates.
//
//go:embed cachewright.lua
var Library string

// LibraryVersion is the version of Library. A higher version replaces a lower one, never the other
// way round: operators and clients of several versions may share a Redis during an upgrade.
var LibraryVersion = library.MustVersion(Library)

// Versions of the function library below LibraryVersion, for those who meet one that their user may
// not replace.
const (
	// OldestLibrary is the lowest version that this package works with.
	OldestLibrary = 3
	// HoldsLibrary is the lowest version that knows holds, SourceLag in a policy, and Schema in a Key.
	HoldsLibrary = 4
	// PutLibrary is the lowest version that knows EnsureFenced, CheckFence, Put, and TTL
	// in FillOptions.
	PutLibrary = 5
	// HeadsLibrary is the lowest version that knows fills with the Token of a Read.
	HeadsLibrary = 6
)

// Install ensures that every primary has the library, at this version or a higher one. It returns
// into how many primaries it loaded the library. If it loads nothing, its user needs no permission
// to. It fails with ErrMisbehaves if a server accepts the library but does not have it afterwards.
func (r *Registry) Install(ctx context.Context) (loaded int, err error) {
	return r.library.Install(ctx)
}

// Writable checks whether every primary takes writes, in one round trip each, and changes nothing.
// ErrRefusesWrites quotes the first that does not. It skips primaries without the library.
func (r *Registry) Writable(ctx context.Context) error {
	return primary.Writable(ctx, r.client)
}
