// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package distant makes a Redis on this machine seem slow or far away.
package distant

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy is a proxy for a Redis that seems slow or far away. Requests pass at once. Answers arrive
// late, but do not wait for one another.
type Proxy struct {
	listener net.Listener
	upstream string
	delay    atomic.Int64

	mu    sync.Mutex
	conns []net.Conn
}

// Start runs a Proxy for the Redis at upstream until Close. At first, answers are not delayed.
func Start(upstream string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: listener, upstream: upstream}
	go p.accept()
	return p, nil
}

// Addr returns the address of the proxy as host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Delay delays all further answers by a duration.
func (p *Proxy) Delay(delay time.Duration) { p.delay.Store(int64(delay)) }

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.upstream)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		go p.carry(client, server, false)
		go p.carry(server, client, true)
	}
}

// chunk holds received bytes, and the time to forward them.
type chunk struct {
	bytes []byte
	due   time.Time
}

func (p *Proxy) carry(from, to net.Conn, late bool) {
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
				c.due = c.due.Add(time.Duration(p.delay.Load()))
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

// Close ends the proxy, and all connections through it.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		_ = conn.Close()
	}
}
