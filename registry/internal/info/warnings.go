// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package info

import (
	"fmt"
	"time"
)

// WarningKind says which property of a server puts its users at risk. Package registry exports and
// documents these.
type WarningKind string

// The kinds of warnings.
const (
	WarnNotPrimary       WarningKind = "NotPrimary"
	WarnMemoryFull       WarningKind = "MemoryFull"
	WarnReplicaLags      WarningKind = "ReplicaLags"
	WarnLossUnseen       WarningKind = "LossUnseen"
	WarnRestoresOldState WarningKind = "RestoresOldState"
)

// Warning is one risk on one server. Package registry exports and documents it.
type Warning struct {
	Kind    WarningKind
	Addr    string
	Message string
}

const (
	// fullPercent of maxmemory count as full, because usage fluctuates.
	fullPercent = 95
	// Replicas beyond these limits lag.
	maxLag    = 10 * time.Second
	maxBehind = 16 << 20
)

// Warnings lists the risks to the users of a server; empty: none.
func (p Primary) Warnings() []Warning {
	var warnings []Warning
	warn := func(kind WarningKind, format string, args ...any) {
		warnings = append(warnings,
			Warning{Kind: kind, Addr: p.Addr, Message: p.Addr + " " + fmt.Sprintf(format, args...)})
	}
	if p.IsReplica {
		warn(WarnNotPrimary, "is a replica and takes no writes: nothing is cached or invalidated; "+
			"name the primary, or the Sentinels")
	}
	if p.isFull() {
		warn(WarnMemoryFull,
			"has reached maxmemory, and maxmemory-policy is noeviction: it stores nothing more; "+
				"raise maxmemory, or choose allkeys-lru or allkeys-lfu")
	}
	for _, replica := range p.Replicas {
		if replica.lags() {
			warn(WarnReplicaLags,
				"has a replica, %s, that lags. After a failover to it, invalidations are lost and the "+
					"content of the store is invalidated. Check that replica and its network", replica.Addr)
		}
	}
	if p.Anonymous {
		warn(WarnLossUnseen,
			"reports neither run_id nor master_replid in INFO, or does not know INFO. A restart from a "+
				"snapshot, or a failover, may bring back invalidated entries, and nobody notices. "+
				"Make it answer INFO, or invalidate all modules after each")
	}
	if cause := p.restores(); cause != "" {
		warn(WarnRestoresOldState,
			"%s: a restart would bring back entries that were invalidated since, which %s. "+
				"A cache needs no persistence: set save \"\", appendonly no and rdb-del-sync-files yes",
			cause, p.afterLoss())
	}
	return warnings
}

// afterLoss says what happens when an older state comes back.
func (p Primary) afterLoss() string {
	if p.Anonymous {
		return "stays undetected"
	}
	return "is detected and invalidated again"
}

func (p Primary) isFull() bool {
	return p.MaxMemory > 0 && p.EvictionPolicy == "noeviction" &&
		p.UsedMemory >= p.MaxMemory/100*fullPercent
}

func (r Replica) lags() bool { return r.Online && (r.Lag >= maxLag || r.Behind >= maxBehind) }

// restores says which state a restart would bring back. INFO does not show the configuration, so
// this relies on what the server did: it has written a snapshot, or started with one.
func (p Primary) restores() string {
	switch {
	case p.AppendOnly:
		return "keeps an append-only file"
	case p.Snapshots > 0:
		return "writes snapshots"
	case p.RestoredKeys > 0:
		return "started with a snapshot, which is still on its disk"
	default:
		return ""
	}
}
