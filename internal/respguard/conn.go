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

// Conn is a connection to a server whose replies are bounded. What exceeds the limits is never handed on: the
// connection is closed and Read returns a *Violation, now and later.
type Conn struct {
	net.Conn

	scanner scanner
	failed  *Violation
	// unbounded says that the client set no deadline for reads.
	unbounded atomic.Bool
	closed    func()
	// since is when the reply under way was first waited for without a deadline; zero: it is not.
	since time.Time
}

// Wrap returns a connection below a client that speaks RESP2 or RESP3. It must have been used for nothing yet, or for
// whole replies; the first that comes is bounded as that to HELLO. A connection that is guarded already is returned as it is.
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

// Dialer wraps each connection that dial makes.
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

// limitTime gives a reply that has begun a deadline where the client gave none.
func (c *Conn) limitTime() {
	if c.since.IsZero() {
		c.since = time.Now()
	}
	_ = c.Conn.SetReadDeadline(c.since.Add(replyTime))
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

// NotifyClose has fn called, once or more, when the connection was closed by this end. Call it before the first Read.
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

// NetConn returns the connection below, as tls.Conn does: clients look there for the one that the system knows.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// pollableConn lets a client ask the system whether an idle connection has ended. A TLS connection cannot be asked: what
// the system has of it may be no reply.
type pollableConn struct {
	*Conn

	raw syscall.Conn
}

// SyscallConn implements syscall.Conn.
func (c *pollableConn) SyscallConn() (syscall.RawConn, error) { return c.raw.SyscallConn() }
