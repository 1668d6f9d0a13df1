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

// parcel holds received bytes, and the time to forward them.
type parcel struct {
	bytes []byte
	due   time.Time
}

func (d *Distant) carry(from, to net.Conn, late bool) {
	parcels := make(chan parcel, 1024)
	go func() {
		defer close(parcels)
		for {
			buffer := make([]byte, 64<<10)
			n, err := from.Read(buffer)
			if err != nil {
				return
			}
			p := parcel{bytes: buffer[:n], due: time.Now()}
			if late {
				p.due = p.due.Add(time.Duration(d.delay.Load()))
			}
			parcels <- p
		}
	}()
	for p := range parcels {
		time.Sleep(time.Until(p.due))
		if _, err := to.Write(p.bytes); err != nil {
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
