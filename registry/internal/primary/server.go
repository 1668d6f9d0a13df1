// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package primary

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/info"
)

// ErrAnonymous says that a server does not tell which incarnation of its data it holds.
var ErrAnonymous = errors.New("redis does not say by INFO which incarnation of its data it holds")

// Server is what one server reports about itself. Its fields are those of registry.Server.
type Server struct {
	info.Incarnation

	IsReplica bool
}

// ServerOf asks the server behind a connection. ErrAnonymous: it does not tell.
func ServerOf(ctx context.Context, conn redis.Cmdable) (Server, error) {
	text, err := conn.Info(ctx, "server", "replication").Result()
	if err != nil {
		err = fault.Classify("INFO", err)
		if errors.Is(err, fault.ErrForbidden) || errors.Is(err, fault.ErrUnsupported) {
			return Server{}, fmt.Errorf("%w: %w", ErrAnonymous, err)
		}
		return Server{}, err
	}
	server := info.ParsePrimary("", text)
	if server.Incarnation() == "" {
		return Server{}, ErrAnonymous
	}
	return Server{Incarnation: server.Incarnation(), IsReplica: server.IsReplica}, nil
}
