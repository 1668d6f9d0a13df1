// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"net"
	"sync"
)

// Proxy leads to a server, and can cut what passes.
type Proxy struct {
	listener net.Listener
	upstream string

	mu    sync.Mutex
	cut   func(sent []byte) (forward int, cut bool)
	conns map[net.Conn]bool
}

// StartProxy runs a proxy until Close.
func StartProxy(upstream string) (*Proxy, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: listener, upstream: upstream, conns: map[net.Conn]bool{}}
	go p.accept()
	return p, nil
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// CutAt has a function look at each piece that a client sends, until it says that it cuts one. Then
// the proxy closes the connection to the client, forwards that many bytes of the piece, and closes
// the connection to the server.
func (p *Proxy) CutAt(decide func(sent []byte) (forward int, cut bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = decide
}

// Close ends the proxy and its connections.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close()
	}
}

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
		p.track(client, server)
		go p.forward(client, server)
		go p.back(server, client)
	}
}

func (p *Proxy) track(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range conns {
		p.conns[conn] = true
	}
}

// forward carries what a client sends.
func (p *Proxy) forward(client, server net.Conn) {
	defer func() { _ = server.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		forward, cut := p.decide(buffer[:n])
		if cut {
			_ = client.Close() // before the server can answer
			_, _ = server.Write(buffer[:forward])
			return
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			_ = client.Close()
			return
		}
	}
}

func (p *Proxy) decide(sent []byte) (forward int, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut == nil {
		return 0, false
	}
	forward, cut = p.cut(sent)
	if cut {
		p.cut = nil
	}
	return forward, cut
}

// back carries what the server answers.
func (p *Proxy) back(server, client net.Conn) {
	defer func() { _ = client.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		if err != nil {
			return
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}
