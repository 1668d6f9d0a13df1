// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package connect makes clients of standalone servers, of primaries that Sentinels name, and of
// clusters. It bounds what servers may answer and checks their addresses.
package connect

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cachewright/cachewright/internal/respguard"
)

// Config says how to reach a Redis. See registry.Connection.
type Config struct {
	Addresses                          []string
	MasterName                         string
	Cluster                            bool
	DB                                 int
	Username, Password                 string
	SentinelUsername, SentinelPassword string
	TLS                                *tls.Config
	// Check of each address; nil: none.
	Check Check
	// Limits of replies.
	Limits respguard.Limits
	// Small bounds the connections and buffers of a client, for a process with hundreds of clients.
	Small bool
}

// maxRetries bounds how often a call is repeated that met a broken connection. If a server hangs,
// each try waits for it.
const maxRetries = 1

// Bounds of a small client. Without them, the client of a server that answers one pipeline keeps
// more than 256 KiB of buffers in use.
const (
	// smallPool exceeds the operator's concurrent calls to one store. Some calls take a second
	// connection.
	smallPool = 16
	// smallIdle connections stay open between calls.
	smallIdle = 4
	// noPipelinePool makes pipelines use the other connections. Those of a pool of their own have
	// buffers of 128 KiB.
	noPipelinePool = -1
	smallBuffer    = 4 << 10
)

// noMaintenance disables notifications that only Redis' own cloud sends. Other servers answer the
// handshake with an error.
func noMaintenance() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// Client returns a client. It does not connect yet.
func (c Config) Client() redis.UniversalClient {
	switch {
	case c.Cluster:
		return c.clusterClient()
	case c.MasterName != "":
		return c.sentinelClient()
	default:
		return redis.NewClient(c.options(c.Addresses[0], c.dialer().Dial))
	}
}

func (c Config) dialer() Dialer { return Dialer{Limits: c.Limits, Check: c.Check, TLS: c.TLS} }

func (c Config) options(
	addr string, dial func(context.Context, string, string) (net.Conn, error),
) *redis.Options {
	options := &redis.Options{
		Addr: addr, DB: c.DB, Username: c.Username, Password: c.Password, TLSConfig: c.TLS, Dialer: dial,
		MaxRetries: maxRetries, DialerRetries: 1, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: noMaintenance(),
	}
	if c.Small {
		options.PoolSize, options.MaxIdleConns, options.PipelinePoolSize = smallPool, smallIdle,
			noPipelinePool
		options.ReadBufferSize, options.WriteBufferSize = smallBuffer, smallBuffer
	}
	return options
}

// clusterClient routes by keys only. Otherwise go-redis reads and keeps what a server says about
// all its commands.
func (c Config) clusterClient() *redis.ClusterClient {
	options := &redis.ClusterOptions{
		Addrs: c.Addresses, Username: c.Username, Password: c.Password, TLSConfig: c.TLS,
		Dialer:     c.dialer().Dial,
		MaxRetries: maxRetries, DialerRetries: 1, ContextTimeoutEnabled: true,
		DisableRoutingPolicies:   true,
		MaintNotificationsConfig: noMaintenance(),
	}
	if c.Small {
		options.PoolSize, options.MaxIdleConns, options.PipelinePoolSize = smallPool, smallIdle,
			noPipelinePool
		options.ReadBufferSize, options.WriteBufferSize = smallBuffer, smallBuffer
	}
	client := redis.NewClusterClient(options)
	respguard.WatchCluster(client)
	return client
}
