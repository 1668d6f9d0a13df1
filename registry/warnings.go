// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import "github.com/cachewright/cachewright/registry/internal/info"

// WarningKind says which property of a server puts its users at risk. It is a string: the name of
// the constant without Warn.
type WarningKind = info.WarningKind

const (
	// WarnNotPrimary: the server is a replica and takes no writes.
	WarnNotPrimary WarningKind = info.WarnNotPrimary
	// WarnMemoryFull: maxmemory is nearly reached and nothing may be evicted, so nothing more is
	// stored.
	WarnMemoryFull WarningKind = info.WarnMemoryFull
	// WarnReplicaLags: a failover to that replica would lose invalidations.
	WarnReplicaLags WarningKind = info.WarnReplicaLags
	// WarnLossUnseen: the server does not report which state of its data it holds, so nobody notices a
	// loss.
	WarnLossUnseen WarningKind = info.WarnLossUnseen
	// WarnRestoresOldState: a restart would bring back an older state from disk.
	WarnRestoresOldState WarningKind = info.WarnRestoresOldState
)

// Warning is one risk on one server: a struct with its Kind, the Addr of the server, and a Message.
// The message contains no changing numbers, so that the same risk always has the same message.
type Warning = info.Warning

// Warnings lists the risks to the users of this store, by server; empty: none.
func (h Health) Warnings() []Warning {
	var warnings []Warning
	for _, p := range h.Primaries {
		warnings = append(warnings, info.Primary(p).Warnings()...)
	}
	return warnings
}
