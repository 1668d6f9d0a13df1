// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/info"
)

// minRedisMajor is the first Redis with functions.
const minRedisMajor = 7

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

// Replica is connected to a primary.
type Replica struct {
	// Addr is its address as the primary sees it, host:port.
	Addr string
	// Online says that it has the primary's data and receives its writes.
	Online bool
	// Lag since it was last heard from, in whole seconds.
	Lag time.Duration
	// Behind is the number of bytes of the history that it has not acknowledged.
	Behind int64
}

// Check checks every primary, in one round trip each. Its user needs INFO. If a server does not
// know INFO, for example because it was renamed, only the version of the library is known.
// ErrUnsupported names the version of a server that is too old.
func (r *Registry) Check(ctx context.Context) (Health, error) {
	var mu sync.Mutex
	health := Health{LibraryVersion: -1}
	err := r.forEachPrimary(ctx, func(ctx context.Context, node *redis.Client) error {
		primary, err := inspect(ctx, node)
		if err != nil {
			return orRejection(ctx, node, err)
		}
		mu.Lock()
		defer mu.Unlock()
		health = health.with(primary)
		return nil
	})
	if err != nil {
		return Health{}, err
	}
	if len(health.Primaries) == 0 {
		return Health{},
			fmt.Errorf(
				"%w: no node of the cluster has hash slots: assign them, or name nodes of another cluster",
				ErrUnreachable)
	}
	slices.Sort(health.RunIDs)
	slices.SortFunc(health.Primaries, func(a, b Primary) int { return cmp.Compare(a.Addr, b.Addr) })
	return health, nil
}

func (h Health) with(primary Primary) Health {
	h.Primaries = append(h.Primaries, primary)
	h.RunIDs = append(h.RunIDs, primary.RunID)
	if h.Version == "" || olderThan(primary.Version, h.Version) {
		h.Version = primary.Version
	}
	if h.LibraryVersion < 0 || primary.LibraryVersion < h.LibraryVersion {
		h.LibraryVersion = primary.LibraryVersion
	}
	return h
}

// inspect returns what a node reports. It fails with ErrUnsupported if the node has no functions.
func inspect(ctx context.Context, node *redis.Client) (Primary, error) {
	addr := node.Options().Addr
	var text *redis.StringCmd
	var version *redis.Cmd
	err := fault.Unsent(node.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		text = pipe.Info(ctx, "server", "replication", "memory", "stats", "persistence")
		version = pipe.FCallRO(ctx, "cw_version", nil)
		return nil
	}))
	primary := Primary{Addr: addr, Anonymous: true}
	if err = cmp.Or(err, text.Err()); err != nil && !fault.IsCommandUnknown(err) {
		return Primary{}, fault.Classify("INFO of "+addr, err)
	}
	if err == nil {
		primary = parsePrimary(addr, text.Val())
		if err := requireFunctions(primary); err != nil {
			return Primary{}, err
		}
	}
	primary.LibraryVersion, err = versionIn(addr, version)
	return primary, err
}

func requireFunctions(p Primary) error {
	if p.Mode == "sentinel" {
		return fmt.Errorf("%s is a Sentinel: %w: name the server that it watches, or the mode Sentinel",
			p.Addr, ErrUnsupported)
	}
	if numbers(p.Version)[0] >= minRedisMajor {
		return nil
	}
	return fmt.Errorf("%s runs Redis %s: %w: use Redis %d.0 or Valkey 7.2, or later",
		p.Addr, p.Version, ErrUnsupported, minRedisMajor)
}

// Bounds of short texts of INFO, in bytes: those of the status fields that show them.
const (
	maxVersion        = 64
	maxMode           = 32
	maxEvictionPolicy = 64
)

// noReplicationID is the value in INFO if there is none.
const noReplicationID = "0000000000000000000000000000000000000000"

func parsePrimary(addr, text string) Primary {
	fields := info.Parse(text)
	number := func(name string) int64 { return fields.Number(name, maxCount) } // sums of some fit, too
	p := Primary{
		Addr:                addr,
		Version:             fault.Printable(fields["redis_version"], maxVersion),
		Mode:                fault.Printable(fields["redis_mode"], maxMode),
		RunID:               fields["run_id"],
		ReplicationID:       fields["master_replid"],
		FormerReplicationID: fields["master_replid2"],
		Offset:              fields.Number("master_repl_offset", math.MaxInt64),
		IsReplica:           fields["role"] == "slave",
		UsedMemory:          max(0, number("used_memory")-number("mem_not_counted_for_evict")),
		MaxMemory:           number("maxmemory"),
		EvictionPolicy:      fault.Printable(fields["maxmemory_policy"], maxEvictionPolicy),
		EvictedKeys:         number("evicted_keys"),
		AppendOnly:          number("aof_enabled") == 1,
		Snapshots:           number("rdb_saves"),
		RestoredKeys:        number("rdb_last_load_keys_loaded"),
		Uptime:              fields.Seconds("uptime_in_seconds"),
	}
	if p.FormerReplicationID == noReplicationID {
		p.FormerReplicationID = ""
	}
	p.Anonymous = p.Incarnation() == ""
	for _, replica := range fields.Replicas() {
		p.Replicas = append(p.Replicas, Replica{
			Addr:   replica["ip"] + ":" + replica["port"],
			Online: replica["state"] == "online",
			Lag:    replica.Seconds("lag"),
			Behind: max(0, p.Offset-replica.Number("offset", math.MaxInt64)),
		})
	}
	return p
}

func olderThan(version, than string) bool {
	return slices.Compare(numbers(version), numbers(than)) < 0
}

func numbers(version string) []int {
	var ns []int
	for part := range strings.SplitSeq(version, ".") {
		n, _ := strconv.Atoi(part)
		ns = append(ns, n)
	}
	return ns
}
