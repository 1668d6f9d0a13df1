// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"errors"
	"fmt"
	"strings"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/registry"
)

// trouble is an error that Redis reports in words of its own, with a remedy of its own.
type trouble struct {
	meaning error
	// said is part of what Redis said; empty: anything.
	said   string
	class  Class
	reason string
	// what is wrong, after the name of the store; the words of Redis follow.
	what   string
	remedy string
}

// LoadLibrary is the remedy where a store keeps an older function library.
const LoadLibrary = "Let the operator's user load another one: it needs +function|load. " +
	"Or load the one of this operator yourself"

const takesNoWrites = "answers, but takes no writes"

var troubles = []trouble{
	{
		registry.ErrRefusesWrites, "MISCONF", ClassWait, v1.ReasonStoreRefusesWrites, takesNoWrites,
		"Look at its log and its disk. A cache needs no persistence: set save \"\" and appendonly no",
	},
	{
		registry.ErrRefusesWrites, "NOREPLICAS", ClassWait, v1.ReasonStoreRefusesWrites, takesNoWrites,
		"Look at its replicas, or lower min-replicas-to-write",
	},
	{
		registry.ErrRefusesWrites, "READONLY", ClassWait, v1.ReasonStoreRefusesWrites, takesNoWrites,
		"It is a replica: name the primary, or the Sentinels",
	},
	{
		registry.ErrRefusesWrites, "", ClassWait, v1.ReasonStoreRefusesWrites, takesNoWrites,
		"Look at its log",
	},
	{
		registry.ErrUnreachable, "max number of clients", ClassWait, v1.ReasonStoreUnreachable,
		"has no connection left for the operator",
		"Raise maxclients, or find out with CLIENT LIST who holds the connections",
	},
	{
		registry.ErrNameTaken, "", ClassStalled, v1.ReasonStoreUnsupported,
		"has another function library that uses the name of one of our functions",
		"Find it with FUNCTION LIST and remove it with FUNCTION DELETE, or use a Redis of its own",
	},
	{
		registry.ErrUnexpected, "nodes without hosts", ClassWait, v1.ReasonStoreUnreachable,
		"is a cluster whose nodes do not tell where they are",
		"Set cluster-preferred-endpoint-type to ip or hostname on each node, and cluster-announce-ip " +
			"or cluster-announce-hostname where it needs one",
	},
	{
		ErrLibraryTooOld, "", ClassStalled, v1.ReasonLibraryTooOld, "cannot hold anything", LoadLibrary,
	},
	{
		registry.ErrOutOfMemory, "", ClassWait, v1.ReasonStoreUnreachable, "is out of memory",
		"Raise maxmemory or choose an eviction policy",
	},
}

// troubleOf classifies an error that has a message of its own; nil: it has none.
func troubleOf(err error, at Location) *ClassifiedError {
	for _, t := range troubles {
		if errors.Is(err, t.meaning) && strings.Contains(err.Error(), t.said) {
			return &ClassifiedError{
				Class: t.class, Reason: t.reason, Err: err, OfWholeStore: registry.ConcernsStore(err),
				Message: fmt.Sprintf("%s %s: %s. %s", at, t.what, causeOf(err, t.meaning), t.remedy),
			}
		}
	}
	for _, m := range misdeclarations {
		if errors.Is(err, m.meaning) && strings.Contains(err.Error(), m.said) {
			return &ClassifiedError{
				Class: ClassWait, Reason: v1.ReasonStoreUnreachable, Err: err,
				OfWholeStore: registry.ConcernsStore(err),
				Message: fmt.Sprintf("%s is not what it is declared to be: %s: %s. It said: %s", at, m.truth,
					m.remedyAt(at), causeOf(err, m.meaning)),
			}
		}
	}
	return nil
}

// misdeclaration is what a server says that is of another kind than the store is declared to be.
type misdeclaration struct {
	meaning error
	said    string
	truth   string
	// What to change in a CacheStore, and in the operator's environment; empty: that cannot be
	// declared there.
	inSpec, inEnvironment string
}

var misdeclarations = []misdeclaration{
	{
		registry.ErrUnreachable, "MOVED ", "it is a node of a Redis Cluster",
		"set spec.mode: Cluster", "set REDIS_CLUSTER: true",
	},
	{
		registry.ErrUnexpected, "cluster support disabled", "it is no node of a Redis Cluster",
		"set spec.mode: Standalone", "take away REDIS_CLUSTER",
	},
	{
		registry.ErrUnexpected, "DB index is out of range", "it has no database of that number",
		"correct spec.db, or the server's directive databases",
		"correct REDIS_DB, or the server's directive databases",
	},
	{
		registry.ErrUnexpected, "unknown command 'sentinel'", "it is no Sentinel",
		"put the addresses of Sentinels into spec.addresses, or set spec.mode: Standalone", "",
	},
	{registry.ErrUnexpected, "the Sentinels know no primary of that name", "the Sentinels know no " +
		"such primary", "correct spec.masterName", ""},
}

func (m misdeclaration) remedyAt(at Location) string {
	if at.ID == resource.DefaultStore {
		return m.inEnvironment
	}
	return m.inSpec
}
