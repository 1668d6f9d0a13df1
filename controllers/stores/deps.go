// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cachewright/cachewright/controllers/internal/metrics"
	"github.com/cachewright/cachewright/controllers/internal/queue"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/controllers/recovery"
	"github.com/cachewright/cachewright/registry"
)

// Deps are what the monitors of all stores share.
type Deps struct {
	// Reader reads from the cache.
	Reader client.Reader
	// Live reads from the API server.
	Live     client.Reader
	Metrics  *metrics.Metrics
	Snapshot *stats.Snapshot
	Clock    clock.Clock
	Log      logr.Logger
	// Interval between probes, 5s for example; of a store that is down longer and longer.
	Interval time.Duration
	// StatsInterval is the time between two reads of statistics.
	StatsInterval time.Duration
	// RenewInterval is the time after which Secrets are read again.
	RenewInterval time.Duration
	// ReplayMargin before the last heartbeat is replayed, too: clocks differ.
	ReplayMargin time.Duration
	// Elected is closed when this replica becomes the leader.
	Elected <-chan struct{}
	// Cluster that the operator works for; empty: not known, so that no policy is claimed.
	Cluster string
	// DialCheck is asked before each connection to a server of a CacheStore; nil: any address will do.
	DialCheck registry.DialCheck
	// Events are recorded where a store went back to an older state.
	Events events.EventRecorder
	// Journal knows which invalidations took effect.
	Journal *recovery.Journal
	// LostMarks notes the marks of holds that are put back; nil: nothing is noted.
	LostMarks *recovery.LostMarks
	// Queues of the resources that monitors wake.
	Queues queue.Set
}
