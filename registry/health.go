// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"slices"
	"time"

	"github.com/cachewright/cachewright/registry/internal/info"
	"github.com/cachewright/cachewright/registry/internal/primary"
)

// Health is the result of one inexpensive check of all primaries.
type Health struct {
	// Version of the oldest server, for example "7.0.15".
	Version string
	// RunIDs of all primaries, sorted. The list changes when a server is restarted or replaced.
	RunIDs []string
	// LibraryVersion is the lowest that is loaded; 0: a primary has none.
	LibraryVersion int
	// Primaries are the servers that were checked, by address.
	Primaries []Primary
}

// Primary is what one server reports about itself.
type Primary struct {
	// Addr is the address of the server, host:port; for a client that uses Sentinels, the name that
	// go-redis gives.
	Addr string
	// Version of the server, for example "7.0.15".
	Version string
	// Mode that it runs in: standalone, cluster or sentinel.
	Mode string
	// RunID is random for each process.
	RunID string
	// LibraryVersion that is loaded; 0: none.
	LibraryVersion int

	// ReplicationID names the history of the data. A server draws a new one when it starts or is
	// promoted. It also does when its first replica connects, and when the last has been away for
	// repl-backlog-ttl.
	ReplicationID string
	// FormerReplicationID names the history that it shares with its former primary; empty: it was not
	// a replica.
	FormerReplicationID string
	// Offset is the length of that history in bytes.
	Offset int64
	// Anonymous says that the server reports neither RunID nor ReplicationID, or does not know INFO.
	// Its data has no Incarnation, so nobody can notice a loss of data. Check sets it.
	Anonymous bool
	// IsReplica says that it takes no writes: it is not a primary, contrary to the configuration.
	IsReplica bool
	// Replicas that are connected.
	Replicas []Replica

	// UsedMemory is the memory that counts towards MaxMemory, in bytes.
	UsedMemory int64
	// MaxMemory in bytes; 0: no limit.
	MaxMemory int64
	// EvictionPolicy is maxmemory-policy.
	EvictionPolicy string
	// EvictedKeys since the start.
	EvictedKeys int64

	// AppendOnly says that it keeps an append-only file.
	AppendOnly bool
	// Snapshots written since the start.
	Snapshots int64
	// RestoredKeys is the number of keys it started with, from a file or from its former primary.
	RestoredKeys int64
	// Uptime since the start.
	Uptime time.Duration
}

// BeganEmpty says that the server started without data: from no file, and not as a replica.
func (p Primary) BeganEmpty() bool {
	return !p.AppendOnly && p.RestoredKeys == 0 && p.FormerReplicationID == ""
}

// Replica is connected to a primary. It is a struct with these fields:
//
//   - Addr is its address as the primary sees it, host:port.
//   - Online says that it has the primary's data and receives its writes.
//   - Lag is the time since it was last heard from, in whole seconds.
//   - Behind is the number of bytes of the history that it has not acknowledged.
type Replica = info.Replica

// Check checks every primary, in one round trip each. Its user needs INFO. If a server does not
// know INFO, for example because it was renamed, only the version of the library is known.
// ErrUnsupported names the version of a server that is too old.
func (r *Registry) Check(ctx context.Context) (Health, error) {
	primaries, err := primary.Check(ctx, r.client)
	if err != nil {
		return Health{}, err
	}
	health := Health{LibraryVersion: primaries[0].LibraryVersion}
	for _, p := range primaries {
		health.Primaries = append(health.Primaries, Primary(p))
		health.RunIDs = append(health.RunIDs, p.RunID)
		health.LibraryVersion = min(health.LibraryVersion, p.LibraryVersion)
		if health.Version == "" || info.OlderThan(p.Version, health.Version) {
			health.Version = p.Version
		}
	}
	slices.Sort(health.RunIDs)
	return health, nil
}
