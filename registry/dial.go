// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/cachewright/cachewright/internal/respguard"
)

// DialCheck says whether a server may be connected to, given the host that was asked for and the IP that it has right
// now. It is asked at each connection, also to servers that Sentinels or the nodes of a cluster name. Its errors say
// what to change; wrap ErrAddressNotAllowed in them.
type DialCheck func(host string, ip netip.Addr) error

// Role says whose client it is, and so how much a server may answer.
type Role int

const (
	// RoleApplication reads entries: strings up to the largest maxEntryBytes, 64 MiB, up to 256 MiB and 1,048,576
	// elements a reply. The first reply of a connection is bounded as that of RoleOperator.
	RoleApplication Role = iota
	// RoleOperator reads policies and figures: up to 4 MiB and 65,536 elements a reply, up to 64 KiB and 1,024 elements the
	// first one of a connection, and up to 64 pushes between two replies.
	RoleOperator
)

func (r Role) limits() respguard.Limits {
	if r == RoleOperator {
		return respguard.Operator
	}
	return respguard.Application
}

const defaultDialTimeout = 5 * time.Second

// keepAlive finds out within 45 s that a peer is gone, as go-redis' own dialer does.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 3}

// dialer makes connections whose replies are bounded. A client that has a dialer makes no TLS by itself.
type dialer struct {
	limits respguard.Limits
	check  DialCheck     // nil: any address will do
	tls    *tls.Config   // nil: none
	within time.Duration // 0: defaultDialTimeout; negative: as long as the context allows
}

func (d dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	within := d.within
	if within == 0 {
		within = defaultDialTimeout
	}
	if within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, within)
		defer cancel()
	}
	host, _, _ := net.SplitHostPort(addr) // a socket in the file system has none
	plain := net.Dialer{KeepAliveConfig: keepAlive, ControlContext: d.control(host)}
	conn, err := plain.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if conn, err = d.secured(ctx, conn, host); err != nil {
		return nil, fmt.Errorf("TLS with %s: %w", addr, err)
	}
	return respguard.Wrap(conn, d.limits), nil
}

// control refuses a connection before its first packet. By then the host has been resolved.
func (d dialer) control(host string) func(context.Context, string, string, syscall.RawConn) error {
	if d.check == nil {
		return nil
	}
	return func(_ context.Context, _, addr string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(addr)
		if err != nil {
			return fmt.Errorf("%w: it is no IP address and port", ErrAddressNotAllowed)
		}
		return d.check(host, at.Addr())
	}
}

// secured makes TLS of a connection where that is configured. The certificate must be of the configured name or, without
// one, of the host that was dialed.
func (d dialer) secured(ctx context.Context, conn net.Conn, host string) (net.Conn, error) {
	if d.tls == nil {
		return conn, nil
	}
	config := d.tls
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName = host
	}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}
