// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/entries"
	"github.com/cachewright/cachewright/registry/internal/fencing"
	"github.com/cachewright/cachewright/registry/internal/holds"
	"github.com/cachewright/cachewright/registry/internal/invalidation"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/library"
	"github.com/cachewright/cachewright/registry/internal/modules"
	"github.com/cachewright/cachewright/registry/internal/policies"
	"github.com/cachewright/cachewright/registry/internal/statistics"
	"github.com/cachewright/cachewright/registry/internal/unclaimed"
)

// Slot is one module of one namespace: a struct with the fields Namespace and Module. All its keys
// sit on one node of a Redis Cluster, and each call on it is atomic. Both names consist of 1 to 63
// letters, digits, '.', '_' and '-'; the library refuses others. Its String method returns
// "namespace/module".
type Slot = keyspace.Slot

// Key addresses one entry of a slot.
type Key struct {
	Slot

	// Operation of the module, 1 to 128 bytes.
	Operation string
	// ID names the parameters of the operation: any bytes, up to 1024.
	ID string
	// User whose entry it is: any bytes, up to 256. Empty: an entry shared by all users.
	User string
	// Schema is the version of the payload: 1 to 64 printable ASCII characters without spaces, or
	// empty for none. It is no part of the address. A fill stores it with the payload. A read of an
	// entry with another Schema is a miss. Delete, invalidations, holds and load locks ignore it.
	Schema string
}

// Registry works on the slots of one Redis: a standalone server, one behind Sentinel, or a cluster.
// It is safe for concurrent use. It does not close the client.
//
// Errors of Redis, or of the connection to it, wrap one of the errors of this package:
// ErrUnreachable, ErrUnauthorized, ErrUnsupported, ErrRejected, ErrOutOfMemory, ErrMisbehaves or
// ErrUnexpected. Those of a context that the caller cancelled do not.
type Registry struct {
	client        redis.UniversalClient
	library       *library.Library
	entries       *entries.Entries
	invalidations *invalidation.Invalidator
	holds         *holds.Holds
	fences        *fencing.Fences
	modules       *modules.Lists
	policies      *policies.Policies
	statistics    *statistics.Statistics
	unclaimed     *unclaimed.Names
}

// New returns a Registry over a client. Hooks of the client must not keep the arguments of a
// command after it ends: the memory of payloads is reused.
func New(client redis.UniversalClient) *Registry {
	lib := library.New(client, library.Source{Text: Library, Version: LibraryVersion})
	lists := modules.New(client)
	return &Registry{
		client:        client,
		library:       lib,
		entries:       entries.New(lib),
		invalidations: invalidation.New(lib),
		holds:         holds.New(lib),
		fences:        fencing.New(lib),
		modules:       lists,
		policies:      policies.New(lib, lists),
		statistics:    statistics.New(lib),
		unclaimed:     unclaimed.New(lib),
	}
}
