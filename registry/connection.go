// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/respguard"
	"github.com/cachewright/cachewright/registry/internal/connect"
)

// Connection says how to reach a Redis. Addresses is required. With neither MasterName nor Cluster
// it has the address of one standalone server.
type Connection struct {
	// Addresses as host:port: of the server, of Sentinels, or of some nodes of a cluster.
	Addresses []string
	// MasterName is the name under which Sentinels watch the primary. If it is set, Addresses are
	// those of Sentinels.
	MasterName string
	// Cluster says that Addresses are those of nodes of a Redis Cluster.
	Cluster bool
	// DB is the number of the database. A cluster has 0 only.
	DB int
	// Username and Password for the servers; empty: none.
	Username, Password string
	// SentinelUsername and SentinelPassword for the Sentinels; empty: none.
	SentinelUsername, SentinelPassword string
	// TLS of all connections, including those to Sentinels; nil: none. Without a ServerName, each
	// server's certificate must be valid for the host that was dialed.
	TLS *tls.Config
	// Role bounds what the servers may answer. Whatever exceeds the bounds is not read and fails with
	// ErrMisbehaves.
	Role Role
	// Check is called before each connection, including those to Sentinels and cluster nodes; nil:
	// every address is allowed.
	Check DialCheck
}

// DialCheck says whether a server may be connected to, given the requested host and its current IP
// address. It is called for each connection, including those to servers that Sentinels or cluster
// nodes name. Its errors should say what to change, and wrap ErrAddressNotAllowed.
type DialCheck func(host string, ip netip.Addr) error

// NewDialCheck returns a check that allows the addresses in a list only. The list has IP addresses,
// ranges such as 10.0.0.0/8, and patterns of host names such as *.redis.example.com, where * stands
// for any text. An empty list allows all addresses. Either way the check refuses link-local,
// metadata and unspecified addresses, unless an address or range in the list contains them. The
// owner of a host name decides where it leads.
func NewDialCheck(allowed []string) (DialCheck, error) {
	return connect.NewCheck(allowed)
}

// Role says who uses a client, which determines how much a server may answer.
type Role int

const (
	// RoleApplication reads entries: strings up to the largest maxEntryBytes, 64 MiB, and up to 256
	// MiB and 1,048,576 elements per reply. The bounds of the first reply of a connection are those of
	// RoleOperator.
	RoleApplication Role = iota
	// RoleOperator reads policies and statistics: up to 4 MiB and 65,536 elements per reply. The first
	// reply of a connection may have up to 64 KiB and 1,024 elements. There may be up to 64 pushes
	// between two replies.
	RoleOperator
)

func (r Role) limits() respguard.Limits {
	if r == RoleOperator {
		return respguard.Operator
	}
	return respguard.Application
}

// Client returns a client for the connection. It does not connect yet. It follows up to 1,000 nodes
// of a cluster.
func (c Connection) Client() redis.UniversalClient {
	return connect.Config{
		Addresses: c.Addresses, MasterName: c.MasterName, Cluster: c.Cluster, DB: c.DB,
		Username: c.Username, Password: c.Password,
		SentinelUsername: c.SentinelUsername, SentinelPassword: c.SentinelPassword,
		TLS: c.TLS, Check: c.Check, Limits: c.Role.limits(), Small: c.Role == RoleOperator,
	}.Client()
}

// ClientFromEnv returns a client for the Redis that the environment names; pass os.LookupEnv.
//
//	REDIS_URL                 redis://user:password@host:port/db, or rediss:// for TLS; takes
//	                          precedence over all below but the REDIS_TLS_… files
//	REDIS_HOST, REDIS_PORT    default localhost and 6379; a port may also be a link such as
//	                          tcp://10.0.0.1:6379, which kubelet sets for a Service called redis
//	REDIS_USERNAME, REDIS_PASSWORD
//	REDIS_DB                  default 0
//	REDIS_CLUSTER             true: host and port are one node of a Redis Cluster
//	REDIS_TLS                 true: connect by TLS
//	REDIS_TLS_CA_FILE         PEM of the authorities to trust instead of the system's
//	REDIS_TLS_CERT_FILE, REDIS_TLS_KEY_FILE
//	                          PEM of a client certificate
//	REDIS_TLS_SERVER_NAME     name to expect in the server's certificate
//
// It trims line ends around values, and does not connect. Errors name the variable, but not a value
// that may be secret. Replies are bounded as for RoleApplication, including those of commands that
// the application itself sends.
func ClientFromEnv(lookup func(string) (string, bool)) (redis.UniversalClient, error) {
	return ClientFromEnvAs(RoleApplication, lookup)
}

// ClientFromEnvAs is ClientFromEnv for a client in another role.
func ClientFromEnvAs(role Role, lookup func(string) (string, bool)) (redis.UniversalClient, error) {
	return connect.FromEnv(role.limits(), lookup)
}

// NewTLS returns the configuration for connections by TLS 1.2 or later. ca is PEM of the
// authorities to trust; empty: the system's. certificate and key are PEM of the client's own;
// empty: none. serverName is expected in the server's certificate; empty: the host that was dialed.
// Errors do not quote the key.
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
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("the client certificate and its key: %w", err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}
