// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/cachewright/cachewright/internal/respguard"
	"github.com/cachewright/cachewright/registry/internal/fault"
)

// Check says whether a server may be connected to, given the requested host and its current IP
// address.
type Check = func(host string, ip netip.Addr) error

const defaultDialTimeout = 5 * time.Second

// keepAlive detects within 45 s that a peer is gone, as go-redis' own dialer does.
var keepAlive = net.KeepAliveConfig{
	Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 3,
}

// Dialer makes connections whose replies are bounded. A client with a dialer does not set up TLS,
// so the dialer does.
type Dialer struct {
	Limits respguard.Limits
	// Check of each address; nil: none.
	Check Check
	// TLS; nil: none.
	TLS *tls.Config
	// Timeout; 0: 5 s; negative: none but that of the context.
	Timeout time.Duration
}

// Dial implements the Dialer of a client's options.
func (d Dialer) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	timeout := d.Timeout
	if timeout == 0 {
		timeout = defaultDialTimeout
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	host, _, _ := net.SplitHostPort(addr) // a Unix socket has none
	plain := net.Dialer{KeepAliveConfig: keepAlive, ControlContext: d.control(host)}
	conn, err := plain.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if conn, err = d.secure(ctx, conn, host); err != nil {
		return nil, fmt.Errorf("TLS with %s: %w", addr, err)
	}
	return respguard.Wrap(conn, d.Limits), nil
}

// control refuses a connection before its first packet, when the host is already resolved.
func (d Dialer) control(host string) func(context.Context, string, string, syscall.RawConn) error {
	if d.Check == nil {
		return nil
	}
	return func(_ context.Context, _, addr string, _ syscall.RawConn) error {
		ip, err := netip.ParseAddrPort(addr)
		if err != nil {
			return fmt.Errorf("%w: it is not an IP address and port", fault.ErrAddressNotAllowed)
		}
		return d.Check(host, ip.Addr())
	}
}

// secure sets up TLS if it is configured. The certificate must be valid for the configured name or,
// without one, for the host that was dialed.
func (d Dialer) secure(ctx context.Context, conn net.Conn, host string) (net.Conn, error) {
	if d.TLS == nil {
		return conn, nil
	}
	config := d.TLS
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName = host
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}
