// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// ErrAnonymous says that the server does not tell which incarnation of its data it holds: INFO is forbidden or renamed, or has
// neither run_id nor master_replid. Whether an older state of the data came back cannot be seen then.
var ErrAnonymous = errors.New("redis does not say by INFO which incarnation of its data it holds")

// Server is what one server says of itself.
type Server struct {
	Incarnation

	// IsReplica says that it takes no writes, and may lag behind its primary.
	IsReplica bool
}

// ServerOf asks the server behind a connection. ErrAnonymous: it does not say.
func ServerOf(ctx context.Context, conn redis.Cmdable) (Server, error) {
	text, err := conn.Info(ctx, "server", "replication").Result()
	if err != nil {
		err = classified("INFO", err)
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

// IncarnationOf asks the server behind a connection. ErrAnonymous: it does not say.
func IncarnationOf(ctx context.Context, conn redis.Cmdable) (Incarnation, error) {
	server, err := ServerOf(ctx, conn)
	return server.Incarnation, err
}
