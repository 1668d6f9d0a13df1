// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Distant is a proxy for a Redis that seems slow or far away. Requests pass at once. Answers arrive
// late, but do not wait for one another.
type Distant struct {
	listener net.Listener
	upstream string
	delay    atomic.Int64

	mu    sync.Mutex
	conns []net.Conn
}

// StartDistant runs a Distant for the Redis at upstream until the test ends. At first, answers are
// not delayed.
func StartDistant(tb testing.TB, upstream string) *Distant {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	d := &Distant{listener: listener, upstream: upstream}
	tb.Cleanup(d.close)
	go d.accept()
	return d
}

// Addr returns the address of the proxy as host:port.
func (d *Distant) Addr() string { return d.listener.Addr().String() }

// Delay delays all further answers by a duration.
func (d *Distant) Delay(delay time.Duration) { d.delay.Store(int64(delay)) }

func (d *Distant) accept() {
	for {
		client, err := d.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", d.upstream)
		if err != nil {
			_ = client.Close()
			continue
		}
		d.mu.Lock()
		d.conns = append(d.conns, client, server)
		d.mu.Unlock()
		go d.carry(client, server, false)
		go d.carry(server, client, true)
	}
}

// chunk holds received bytes, and the time to forward them.
type chunk struct {
	bytes []byte
	due   time.Time
}

func (d *Distant) carry(from, to net.Conn, late bool) {
	chunks := make(chan chunk, 1024)
	go func() {
		defer close(chunks)
		for {
			buffer := make([]byte, 64<<10)
			n, err := from.Read(buffer)
			if err != nil {
				return
			}
			c := chunk{bytes: buffer[:n], due: time.Now()}
			if late {
				c.due = c.due.Add(time.Duration(d.delay.Load()))
			}
			chunks <- c
		}
	}()
	for c := range chunks {
		time.Sleep(time.Until(c.due))
		if _, err := to.Write(c.bytes); err != nil {
			_ = from.Close()
		}
	}
	_ = to.Close()
}

func (d *Distant) close() {
	_ = d.listener.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, conn := range d.conns {
		_ = conn.Close()
	}
}
