// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cachewright/cachewright/internal/respguard"
)

// Connection says how to reach a Redis. Addresses is required; with neither MasterName nor Cluster it
// has the address of one standalone server.
type Connection struct {
	// Addresses as host:port: of the server, of sentinels, or of some nodes of a cluster.
	Addresses []string
	// MasterName is the name under which sentinels watch the primary. Not empty: Addresses are theirs.
	MasterName string
	// Cluster: Addresses are those of nodes of a Redis Cluster.
	Cluster bool
	// DB is the number of the database; a cluster has 0 only.
	DB int
	// Username and Password, where the servers want them.
	Username, Password string
	// SentinelUsername and SentinelPassword, where the sentinels want them.
	SentinelUsername, SentinelPassword string
	// TLS of all connections, to sentinels too; nil: none. Without a ServerName each server's certificate must be of the
	// host that was dialed.
	TLS *tls.Config
	// Role bounds what the servers may answer. What exceeds it is ErrMisbehaves, and is not read.
	Role Role
	// Check is asked before each connection is made, to Sentinels and nodes too; nil: any address will do.
	Check DialCheck
}

// connectionRetries bounds how often a call is repeated that met a broken connection: one that
// meets a server that hangs must not wait for it four times.
const connectionRetries = 1

// What an operator's connections to each of its stores may cost, as it may have hundreds. Without these bounds a server
// that answers one pipeline keeps more than 256 KiB of buffers in use.
const (
	// storeConns are more than the operator's concurrent calls of one store, of which some take a second connection.
	storeConns = 16
	// storeIdleConns stay open between calls.
	storeIdleConns = 4
	// noPipelinePool has pipelines use the other connections: those of a pool of their own have buffers of 128 KiB.
	noPipelinePool = -1
	smallBuffer    = 4 << 10
)

// Client returns a client that connects so. It does not connect yet. Of a cluster it follows up to 1,000 nodes.
func (c Connection) Client() redis.UniversalClient {
	switch {
	case c.Cluster:
		return c.clusterClient()
	case c.MasterName != "":
		return c.sentinelClient()
	default:
		return redis.NewClient(c.options(c.Addresses[0], c.dialer().dial))
	}
}

func (c Connection) dialer() dialer {
	return dialer{limits: c.Role.limits(), check: c.Check, tls: c.TLS}
}

func (c Connection) options(addr string, dial func(context.Context, string, string) (net.Conn, error)) *redis.Options {
	options := &redis.Options{
		Addr: addr, DB: c.DB, Username: c.Username, Password: c.Password, TLSConfig: c.TLS, Dialer: dial,
		MaxRetries: connectionRetries, DialerRetries: 1, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if c.Role == RoleOperator {
		options.PoolSize, options.MaxIdleConns, options.PipelinePoolSize = storeConns, storeIdleConns, noPipelinePool
		options.ReadBufferSize, options.WriteBufferSize = smallBuffer, smallBuffer
	}
	return options
}

// clusterClient routes by keys alone: otherwise go-redis reads and keeps what a server says of all its commands.
func (c Connection) clusterClient() *redis.ClusterClient {
	options := &redis.ClusterOptions{
		Addrs: c.Addresses, Username: c.Username, Password: c.Password, TLSConfig: c.TLS, Dialer: c.dialer().dial,
		MaxRetries: connectionRetries, DialerRetries: 1, ContextTimeoutEnabled: true, DisableRoutingPolicies: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if c.Role == RoleOperator {
		options.PoolSize, options.MaxIdleConns, options.PipelinePoolSize = storeConns, storeIdleConns, noPipelinePool
		options.ReadBufferSize, options.WriteBufferSize = smallBuffer, smallBuffer
	}
	client := redis.NewClusterClient(options)
	respguard.WatchCluster(client)
	return client
}

// NewTLS returns the configuration for connections by TLS 1.2 or later. ca is PEM of the authorities to trust, empty: the
// system's; certificate and key are PEM of the client's own, empty: none; serverName is expected in the
// server's certificate, empty: the host connected to. Errors tell nothing of the key.
func NewTLS(ca, certificate, key []byte, serverName string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName}
	if len(ca) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(ca) {
			return nil, errors.New("the authorities hold no PEM certificate")
		}
	}
	if len(certificate) == 0 && len(key) == 0 {
		return config, nil
	}
	own, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("the client certificate and its key: %w", err)
	}
	config.Certificates = []tls.Certificate{own}
	return config, nil
}
