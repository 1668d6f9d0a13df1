// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
)

// Incarnation names one life of a server's data: the process that holds it (its run id) and its
// history (its replication id). While it stays the same, nothing that was written is lost. When it
// changes, an older state may have come back: by a restart with a snapshot, or by the promotion of
// a replica that lagged.
type Incarnation string

// Incarnation of the data that a primary holds; empty: the primary does not tell.
func (p Primary) Incarnation() Incarnation {
	if p.RunID == "" && p.ReplicationID == "" {
		return ""
	}
	return Incarnation(p.RunID + "/" + p.ReplicationID)
}

// ErrAnonymous says that the server does not tell which incarnation of its data it holds. INFO is
// forbidden or renamed, or has neither run_id nor master_replid. Then nobody can see whether an
// older state of the data came back.
var ErrAnonymous = errors.New("redis does not say by INFO which incarnation of its data it holds")

// Server is what one server reports about itself.
type Server struct {
	Incarnation

	// IsReplica says that it takes no writes, and may lag behind its primary.
	IsReplica bool
}

// ServerOf asks the server behind a connection. ErrAnonymous: it does not tell.
func ServerOf(ctx context.Context, conn redis.Cmdable) (Server, error) {
	text, err := conn.Info(ctx, "server", "replication").Result()
	if err != nil {
		err = fault.Classify("INFO", err)
		if errors.Is(err, ErrForbidden) || errors.Is(err, ErrUnsupported) {
			return Server{}, fmt.Errorf("%w: %w", ErrAnonymous, err)
		}
		return Server{}, err
	}
	server := parsePrimary("", text)
	if server.Incarnation() == "" {
		return Server{}, ErrAnonymous
	}
	return Server{Incarnation: server.Incarnation(), IsReplica: server.IsReplica}, nil
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
		node, err := r.primaryOf(ctx, slot)
		if err != nil {
			return nil, err
		}
		serving[i] = incarnations[node.Options().Addr]
	}
	return serving, nil
}

// heartbeatRequest names what Alive writes to a slot.
const heartbeatRequest = "operator/alive"

// Alive writes a heartbeat to slots, one of each primary. If a primary goes back in time, LastAlive
// tells how far.
// SlotErrors are of slots where it could not be written.
func (r *Registry) Alive(ctx context.Context, slots []Slot, now time.Time) error {
	const what = "writing a heartbeat"
	value := fmt.Sprintf("%d 0", now.UnixMilli())
	send := func(pipe redis.Pipeliner, slot Slot) *redis.StatusCmd {
		return pipe.Set(ctx, slot.requestKey(heartbeatRequest), value, fenceMemory)
	}
	broken, err := pipelined(ctx, r.client, what, slots, send,
		func(i int, reply *redis.StatusCmd) error {
			if err := reply.Err(); err != nil {
				return callError(what, slots[i], err)
			}
			return nil
		})
	if err != nil {
		return err
	}
	return broken.of(len(slots))
}

// LastAlive returns the time of the last heartbeat in a slot; the zero time if there is none, or
// something else.
func (r *Registry) LastAlive(ctx context.Context, slot Slot) (time.Time, error) {
	text, err := r.client.Get(ctx, slot.requestKey(heartbeatRequest)).Result()
	if errors.Is(err, redis.Nil) || fault.IsWrongType(err) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, callError("reading the last heartbeat", slot, err)
	}
	if ms, err := strconv.ParseInt(strings.TrimSuffix(text, " 0"), 10, 64); err == nil {
		return time.UnixMilli(ms), nil
	}
	return time.Time{}, nil
}
