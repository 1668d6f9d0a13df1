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
)

// minRedisMajor is the first Redis with functions.
const minRedisMajor = 7

// Health is what one cheap look at all primaries shows.
type Health struct {
	// Version of the oldest server, for example "7.0.15".
	Version string
	// RunIDs of all primaries, sorted. A changed list means that a server was restarted or replaced.
	RunIDs []string
	// LibraryVersion is the lowest one that is loaded; 0 where a primary has none.
	LibraryVersion int
	// Primaries are the servers looked at, by address.
	Primaries []Primary
}

// Primary is what one server says of itself.
type Primary struct {
	// Addr is where it was reached, host:port; of a client for Sentinel, what go-redis calls it.
	Addr string
	// Version of the server, for example "7.0.15".
	Version string
	// Mode that it says it runs in: standalone, cluster or sentinel.
	Mode string
	// RunID is drawn at random by each process.
	RunID string
	// LibraryVersion that is loaded; 0: none.
	LibraryVersion int

	// ReplicationID names the history of the data. A server draws one when it starts, when it is promoted,
	// and when its first replica comes or the last has been away for repl-backlog-ttl.
	ReplicationID string
	// FormerReplicationID names the history that it shares with the primary it was a replica of; empty: it
	// was none.
	FormerReplicationID string
	// Offset is how many bytes of that history there are.
	Offset int64
	// Anonymous says that the server tells neither RunID nor ReplicationID, or does not know INFO: its data has no
	// Incarnation, and a loss of data cannot be noticed. Check sets it.
	Anonymous bool
	// IsReplica says that it takes no writes: what was to be a primary is none.
	IsReplica bool
	// Replicas that are connected.
	Replicas []Replica

	// UsedMemory is what counts against MaxMemory, in bytes.
	UsedMemory int64
	// MaxMemory in bytes; 0: without a limit.
	MaxMemory int64
	// EvictionPolicy is maxmemory-policy.
	EvictionPolicy string
	// EvictedKeys since the start.
	EvictedKeys int64

	// AppendOnly says that it keeps an append-only file.
	AppendOnly bool
	// Snapshots that it has written since its start.
	Snapshots int64
	// RestoredKeys is how many keys it began with, from a file or from the primary it was a replica of.
	RestoredKeys int64
	// Uptime since its start.
	Uptime time.Duration
}

// BeganEmpty says that the server began with no data: from no file, and as a replica of none.
func (p Primary) BeganEmpty() bool {
	return !p.AppendOnly && p.RestoredKeys == 0 && p.FormerReplicationID == ""
}

// Replica is one that is connected to a primary.
type Replica struct {
	// Addr is where the primary sees it, host:port.
	Addr string
	// Online says that it has the primary's data and follows.
	Online bool
	// Lag since its last sign of life, in whole seconds.
	Lag time.Duration
	// Behind is how many bytes of the history it has not acknowledged.
	Behind int64
}

// Check looks at every primary, in one round trip each. Its user must be allowed INFO. Of a server that does not know
// INFO, as where it is renamed, all that is known is the version of the library. ErrUnsupported names the version of a
// server that is too old.
func (r *Registry) Check(ctx context.Context) (Health, error) {
	var mu sync.Mutex
	health := Health{LibraryVersion: -1}
	err := r.forEachPrimary(ctx, func(ctx context.Context, node *redis.Client) error {
		primary, err := inspect(ctx, node)
		if err != nil {
			return orTurnedAway(ctx, node, err)
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
		return Health{}, fmt.Errorf("%w: no node of the cluster has hash slots: assign them, or name nodes of another cluster", ErrUnreachable)
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

// inspect returns what a node is. It fails with ErrUnsupported where the node has no functions.
func inspect(ctx context.Context, node *redis.Client) (Primary, error) {
	addr := node.Options().Addr
	var says *redis.StringCmd
	var version *redis.Cmd
	err := unsent(node.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		says = pipe.Info(ctx, "server", "replication", "memory", "stats", "persistence")
		version = pipe.FCallRO(ctx, "cw_version", nil)
		return nil
	}))
	primary := Primary{Addr: addr, Anonymous: true}
	if err = cmp.Or(err, says.Err()); err != nil && !isCommandUnknown(err) {
		return Primary{}, classified("INFO of "+addr, err)
	}
	if err == nil {
		primary = parsePrimary(addr, says.Val())
		if err := requireFunctions(primary); err != nil {
			return Primary{}, err
		}
	}
	primary.LibraryVersion, err = versionIn(addr, version)
	return primary, err
}

func requireFunctions(p Primary) error {
	if p.Mode == "sentinel" {
		return fmt.Errorf("%s is a Sentinel: %w: name the server that it watches, or the mode Sentinel", p.Addr, ErrUnsupported)
	}
	if numbers(p.Version)[0] >= minRedisMajor {
		return nil
	}
	return fmt.Errorf("%s runs Redis %s: %w: use Redis %d.0 or Valkey 7.2, or later",
		p.Addr, p.Version, ErrUnsupported, minRedisMajor)
}

// Bounds of short texts of INFO, in bytes: those of the fields that show them in a status.
const (
	maxVersion        = 64
	maxMode           = 32
	maxEvictionPolicy = 64
)

// noReplicationID is what INFO says where there is none.
const noReplicationID = "0000000000000000000000000000000000000000"

func parsePrimary(addr, text string) Primary {
	says := parseInfo(text)
	number := func(name string) int64 { return says.number(name, maxFigure) } // sums of some hold, too
	p := Primary{
		Addr:                addr,
		Version:             printable(says["redis_version"], maxVersion),
		Mode:                printable(says["redis_mode"], maxMode),
		RunID:               says["run_id"],
		ReplicationID:       says["master_replid"],
		FormerReplicationID: says["master_replid2"],
		Offset:              says.number("master_repl_offset", math.MaxInt64),
		IsReplica:           says["role"] == "slave",
		UsedMemory:          max(0, number("used_memory")-number("mem_not_counted_for_evict")),
		MaxMemory:           number("maxmemory"),
		EvictionPolicy:      printable(says["maxmemory_policy"], maxEvictionPolicy),
		EvictedKeys:         number("evicted_keys"),
		AppendOnly:          number("aof_enabled") == 1,
		Snapshots:           number("rdb_saves"),
		RestoredKeys:        number("rdb_last_load_keys_loaded"),
		Uptime:              says.seconds("uptime_in_seconds"),
	}
	if p.FormerReplicationID == noReplicationID {
		p.FormerReplicationID = ""
	}
	p.Anonymous = p.Incarnation() == ""
	p.Replicas = says.replicas(p.Offset)
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
