// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"time"
)

// WarningKind says what about a server endangers those who use it.
type WarningKind string

const (
	// WarnNotPrimary: the server is a replica and takes no writes.
	WarnNotPrimary WarningKind = "NotPrimary"
	// WarnMemoryFull: maxmemory is as good as reached and nothing may be evicted, so nothing more is stored.
	WarnMemoryFull WarningKind = "MemoryFull"
	// WarnReplicaLags: a failover to that replica would lose invalidations.
	WarnReplicaLags WarningKind = "ReplicaLags"
	// WarnLossUnseen: the server does not say which state of its data it holds, so nobody notices that it lost some.
	WarnLossUnseen WarningKind = "LossUnseen"
	// WarnRestoresOldState: a restart would bring back what the server has written to disk.
	WarnRestoresOldState WarningKind = "RestoresOldState"
)

// Warning is one danger on one server. Its message has no figures that change by themselves, so that the same danger
// reads the same.
type Warning struct {
	Kind WarningKind
	// Addr of the server.
	Addr    string
	Message string
}

const (
	// fullPercent of maxmemory count as full: the rest goes to and fro.
	fullPercent = 95
	// Replicas that are further behind lag.
	mostLag    = 10 * time.Second
	mostBehind = 16 << 20
)

// Warnings lists what endangers the users of this store, server by server; empty: nothing.
func (h Health) Warnings() []Warning {
	var warnings []Warning
	for _, p := range h.Primaries {
		warn := func(kind WarningKind, format string, args ...any) {
			warnings = append(warnings, Warning{Kind: kind, Addr: p.Addr, Message: p.Addr + " " + fmt.Sprintf(format, args...)})
		}
		if p.IsReplica {
			warn(WarnNotPrimary, "is a replica and takes no writes: nothing is cached or invalidated; "+
				"name the primary, or the Sentinels")
		}
		if p.isFull() {
			warn(WarnMemoryFull, "has reached maxmemory, and maxmemory-policy is noeviction: it stores nothing more; "+
				"raise maxmemory, or choose allkeys-lru or allkeys-lfu")
		}
		for _, replica := range p.Replicas {
			if replica.lags() {
				warn(WarnReplicaLags, "has a replica, %s, that lags: after a failover to it invalidations are lost, and what the "+
					"store holds is invalidated; look at that replica and its network", replica.Addr)
			}
		}
		if p.Anonymous {
			warn(WarnLossUnseen, "names neither run_id nor master_replid in INFO, or does not know INFO: a restart from a snapshot, or "+
				"a failover, may bring back what was invalidated, and nobody notices; have it answer INFO, or invalidate all modules after each")
		}
		if cause := p.restores(); cause != "" {
			warn(WarnRestoresOldState, "%s: a restart would bring back what was invalidated since, which %s; "+
				"a cache needs no persistence: set save \"\", appendonly no and rdb-del-sync-files yes", cause, p.afterLoss())
		}
	}
	return warnings
}

// afterLoss says what becomes of an older state that came back.
func (p Primary) afterLoss() string {
	if p.Anonymous {
		return "stays undetected"
	}
	return "is detected and invalidated again"
}

func (p Primary) isFull() bool {
	return p.MaxMemory > 0 && p.EvictionPolicy == "noeviction" && p.UsedMemory >= p.MaxMemory/100*fullPercent
}

func (r Replica) lags() bool { return r.Online && (r.Lag >= mostLag || r.Behind >= mostBehind) }

// restores says what a restart would begin with. INFO does not show the configuration, so this is by what the server
// did: it has written a snapshot, or began with one.
func (p Primary) restores() string {
	switch {
	case p.AppendOnly:
		return "keeps an append-only file"
	case p.Snapshots > 0:
		return "writes snapshots"
	case p.RestoredKeys > 0:
		return "began with a snapshot, which is on its disk still"
	default:
		return ""
	}
}
