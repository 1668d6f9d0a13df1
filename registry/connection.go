// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
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
	// TLS of all connections, to sentinels too; nil: none.
	TLS *tls.Config
}

// connectionRetries bounds how often a call is repeated that met a broken connection: one that
// meets a server that hangs must not wait for it four times.
const connectionRetries = 1

// Client returns a client that connects so. It does not connect yet.
func (c Connection) Client() redis.UniversalClient {
	switch {
	case c.Cluster:
		return redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: c.Addresses, Username: c.Username, Password: c.Password, TLSConfig: c.TLS,
			MaxRetries: connectionRetries, DialerRetries: 1, ContextTimeoutEnabled: true,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
	case c.MasterName != "":
		return redis.NewFailoverClient(&redis.FailoverOptions{
			SentinelAddrs: c.Addresses, MasterName: c.MasterName, DB: c.DB, TLSConfig: c.TLS,
			Username: c.Username, Password: c.Password, SentinelUsername: c.SentinelUsername, SentinelPassword: c.SentinelPassword,
			MaxRetries: connectionRetries, DialerRetries: 1, ContextTimeoutEnabled: true,
		})
	default:
		return redis.NewClient(&redis.Options{
			Addr: c.Addresses[0], DB: c.DB, Username: c.Username, Password: c.Password, TLSConfig: c.TLS,
			MaxRetries: connectionRetries, DialerRetries: 1, ContextTimeoutEnabled: true,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
	}
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
