// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-logr/logr"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry"
)

// openStore returns the Redis of the environment, and its address without credentials. It does not
// connect.
func openStore(
	env func(string) (string, bool),
) (store *registry.Registry, address string, closeStore func(), err error) {
	client, err := registry.ClientFromEnvAs(registry.RoleOperator, env)
	if err != nil {
		return nil, "", nil, fmt.Errorf("the environment does not say which Redis to use: %w", err)
	}
	return registry.New(client), addressOf(client), func() { _ = client.Close() }, nil
}

func addressOf(client redis.UniversalClient) string {
	switch client := client.(type) {
	case *redis.Client:
		return client.Options().Addr
	case *redis.ClusterClient:
		return strings.Join(client.Options().Addrs, ",")
	default:
		return "the address in the environment"
	}
}

// clientLog logs what the Redis client would print, at debug level: every failure also reaches us
// as an error.
type clientLog struct{ logr.Logger }

// Printf implements the client's logger.
func (l clientLog) Printf(_ context.Context, format string, args ...any) {
	l.V(1).Info(fmt.Sprintf(format, args...))
}
