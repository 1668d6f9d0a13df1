// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/info"
	"github.com/cachewright/cachewright/registry/internal/primary"
)

// Incarnation names one life of a server's data: the process that holds it (its run id) and its
// history (its replication id). It is a string. While it stays the same, nothing that was written
// is lost. When it changes, an older state may have come back: by a restart with a snapshot, or by
// the promotion of a replica that lagged.
type Incarnation = info.Incarnation

// Incarnation of the data that a primary holds; empty: the primary does not tell.
func (p Primary) Incarnation() Incarnation { return info.Primary(p).Incarnation() }

// ErrAnonymous says that the server does not tell which incarnation of its data it holds. INFO is
// forbidden or renamed, or has neither run_id nor master_replid. Then nobody can see whether an
// older state of the data came back.
var ErrAnonymous = primary.ErrAnonymous

// Server is what one server reports about itself.
type Server struct {
	Incarnation

	// IsReplica says that it takes no writes, and may lag behind its primary.
	IsReplica bool
}

// ServerOf asks the server behind a connection. ErrAnonymous: it does not tell.
func ServerOf(ctx context.Context, conn redis.Cmdable) (Server, error) {
	server, err := primary.ServerOf(ctx, conn)
	return Server(server), err
}

// IncarnationOf asks the server behind a connection. ErrAnonymous: it does not tell.
func IncarnationOf(ctx context.Context, conn redis.Cmdable) (Incarnation, error) {
	server, err := ServerOf(ctx, conn)
	return server.Incarnation, err
}

// Serving returns the incarnation that served each slot when Check found this health, in the order
// of the slots. It asks no server. Empty: not known, for example because a primary has just joined.
func (r *Registry) Serving(
	ctx context.Context, health Health, slots []Slot,
) ([]Incarnation, error) {
	serving := make([]Incarnation, len(slots))
	incarnations := make(map[string]Incarnation, len(health.Primaries))
	for _, p := range health.Primaries {
		incarnations[p.Addr] = p.Incarnation()
	}
	for i, slot := range slots {
		node, err := primary.Of(ctx, r.client, slot)
		if err != nil {
			return nil, err
		}
		serving[i] = incarnations[node.Options().Addr]
	}
	return serving, nil
}
