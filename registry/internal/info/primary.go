// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package info

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cachewright/cachewright/registry/internal/bounds"
	"github.com/cachewright/cachewright/registry/internal/fault"
)

// Primary is what one server reports about itself. Its fields are those of registry.Primary.
type Primary struct {
	Addr           string
	Version        string
	Mode           string
	RunID          string
	LibraryVersion int

	ReplicationID       string
	FormerReplicationID string
	Offset              int64
	Anonymous           bool
	IsReplica           bool
	Replicas            []Replica

	UsedMemory     int64
	MaxMemory      int64
	EvictionPolicy string
	EvictedKeys    int64

	AppendOnly   bool
	Snapshots    int64
	RestoredKeys int64
	Uptime       time.Duration
}

// Replica is connected to a primary. Package registry exports and documents it.
type Replica struct {
	Addr   string
	Online bool
	Lag    time.Duration
	Behind int64
}

// Incarnation names one life of a server's data. Package registry exports and documents it.
type Incarnation string

// Incarnation of the data that a server holds; empty: the server does not tell.
func (p Primary) Incarnation() Incarnation {
	if p.RunID == "" && p.ReplicationID == "" {
		return ""
	}
	return Incarnation(p.RunID + "/" + p.ReplicationID)
}

// Bounds of short texts of INFO, in bytes: those of the status fields that show them.
const (
	maxVersion        = 64
	maxMode           = 32
	maxEvictionPolicy = 64
)

// noReplicationID is the value in INFO if there is none.
const noReplicationID = "0000000000000000000000000000000000000000"

// ParsePrimary reads what the server at an address replied.
func ParsePrimary(addr, text string) Primary {
	fields := Parse(text)
	number := func(name string) int64 { return fields.Number(name, bounds.MaxCount) }
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

// OlderThan compares versions such as 7.0.15.
func OlderThan(version, than string) bool {
	return slices.Compare(numbers(version), numbers(than)) < 0
}

// Major returns the first number of a version.
func Major(version string) int { return numbers(version)[0] }

func numbers(version string) []int {
	var ns []int
	for part := range strings.SplitSeq(version, ".") {
		n, _ := strconv.Atoi(part)
		ns = append(ns, n)
	}
	return ns
}
