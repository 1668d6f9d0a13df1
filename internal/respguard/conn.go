// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package respguard

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is a connection to a server whose replies are bounded. It never passes on what exceeds the
// limits: it closes the connection, and Read returns a *Violation from then on.
type Conn struct {
	net.Conn

	scanner scanner
	failed  *Violation
	// unbounded says that the client set no deadline for reads.
	unbounded atomic.Bool
	closed    func()
	// since is when the current reply was first awaited without a deadline; zero: it is not.
	since time.Time
}

// Wrap returns a connection for a client that speaks RESP2 or RESP3. The connection must be unused,
// or between two replies. The next reply is bounded as that to HELLO. Wrap returns a guarded
// connection unchanged.
func Wrap(inner net.Conn, limits Limits) net.Conn {
	switch inner.(type) {
	case *Conn, *pollableConn:
		return inner
	}
	conn := &Conn{Conn: inner, scanner: newScanner(limits)}
	conn.unbounded.Store(true)
	if raw, ok := inner.(syscall.Conn); ok {
		return &pollableConn{Conn: conn, raw: raw}
	}
	return conn
}

// Dial makes a connection, as the Dialer of a client's options does.
type Dial = func(ctx context.Context, network, addr string) (net.Conn, error)

// Dialer returns a Dial that wraps each connection.
func Dialer(dial Dial, limits Limits) Dial {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return Wrap(conn, limits), nil
	}
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if c.failed != nil {
		return 0, c.failed
	}
	watched := c.unbounded.Load() && !c.scanner.between()
	if watched {
		c.limitTime()
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		if violation := c.scanner.scan(p[:n]); violation != nil {
			return 0, c.fail(violation)
		}
	}
	if watched || !c.since.IsZero() {
		if err != nil && errors.Is(err, os.ErrDeadlineExceeded) && c.unbounded.Load() {
			return n, c.fail(errSlow)
		}
		c.unlimitTime()
	}
	return n, err
}

// limitTime sets a deadline for the rest of a reply if the client set none.
func (c *Conn) limitTime() {
	if c.since.IsZero() {
		c.since = time.Now()
	}
	_ = c.Conn.SetReadDeadline(c.since.Add(replyTimeout))
}

func (c *Conn) unlimitTime() {
	if !c.scanner.between() {
		return
	}
	c.since = time.Time{}
	if c.unbounded.Load() {
		_ = c.Conn.SetReadDeadline(time.Time{})
	}
}

func (c *Conn) fail(violation *Violation) error {
	c.failed = violation
	_ = c.Close()
	return violation
}

// NotifyClose makes Close call fn, once or more. Call NotifyClose before the first Read.
func (c *Conn) NotifyClose(fn func()) { c.closed = fn }

// Close implements net.Conn.
func (c *Conn) Close() error {
	if c.closed != nil {
		c.closed()
	}
	return c.Conn.Close()
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	c.unbounded.Store(t.IsZero())
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.unbounded.Store(t.IsZero())
	return c.Conn.SetReadDeadline(t)
}

// NetConn returns the wrapped connection, as tls.Conn does. Clients use it to find the connection
// of the operating system.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// pollableConn lets a client check with the operating system whether an idle connection was closed.
// That is impossible for a TLS connection, where pending bytes need not be a reply.
type pollableConn struct {
	*Conn

	raw syscall.Conn
}

// SyscallConn implements syscall.Conn.
func (c *pollableConn) SyscallConn() (syscall.RawConn, error) { return c.raw.SyscallConn() }
