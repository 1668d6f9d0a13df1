// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package hostile has a Redis that misbehaves in one call. Its ways are those of broken servers,
// and those that an attacker would choose.
package hostile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
)

// Fault is a way to misbehave in one call. The zero Fault means none.
type Fault struct {
	// Call as Server.Calls names it, for example "INFO", "CLUSTER SLOTS" or "FCALL cw_get".
	Call string
	Way  Way
}

// String describes the fault in one line.
func (f Fault) String() string {
	if f.Call == "" {
		return "well"
	}
	return f.Call + ": " + f.Way.Name
}

// Role is the kind of server that a Server claims to be.
type Role int

// The roles.
const (
	Standalone Role = iota
	// WithoutHello is a standalone server without HELLO, so that clients use AUTH and SELECT.
	WithoutHello
	// ClusterNode is a node that owns all slots.
	ClusterNode
	// Sentinel watches SentinelMaster, which is the server itself.
	Sentinel
)

// String returns the name of the role.
func (r Role) String() string {
	return [...]string{"standalone", "without HELLO", "cluster", "Sentinel"}[r]
}

// Server is a server that forwards calls to a real Redis and returns its answers. Only one call
// gets the answer of its fault. So clients get what they need until they make that call.
type Server struct {
	listener net.Listener
	upstream string
	role     Role

	mu     sync.Mutex
	fault  Fault
	calls  map[string]int
	faults int
	conns  map[net.Conn]struct{} // nil after Close
	served sync.WaitGroup
	closed chan struct{}
}

// Run runs a Server on a free loopback port in front of the Redis at upstream, until Close.
func Run(upstream string, role Role, fault Fault) (*Server, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return nil, fmt.Errorf("starting a hostile server: %w", err)
	}
	h := &Server{
		listener: listener, upstream: upstream, role: role, fault: fault,
		calls: map[string]int{}, conns: map[net.Conn]struct{}{}, closed: make(chan struct{}),
	}
	h.served.Go(h.accept)
	return h, nil
}

// Start does what Run does, until the test ends.
func Start(tb testing.TB, upstream string, role Role, fault Fault) *Server {
	tb.Helper()
	h, err := Run(upstream, role, fault)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(h.Close)
	return h
}

// Addr returns the address of the server as host:port.
func (h *Server) Addr() string { return h.listener.Addr().String() }

// Misbehave replaces the fault, from the next call on.
func (h *Server) Misbehave(fault Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = fault
}

// Calls returns the names of all calls so far, sorted.
func (h *Server) Calls() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.calls))
}

// Misbehaved returns how many calls got the answer of the fault.
func (h *Server) Misbehaved() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.faults
}

// Close closes all connections and waits until the server has ended.
func (h *Server) Close() {
	h.mu.Lock()
	conns := h.conns
	h.conns = nil
	h.mu.Unlock()
	if conns == nil {
		return
	}
	close(h.closed)
	_ = h.listener.Close()
	for conn := range conns {
		_ = conn.Close()
	}
	h.served.Wait()
}

func (h *Server) accept() {
	for {
		conn, err := h.listener.Accept()
		if err != nil {
			return
		}
		h.served.Go(func() {
			defer func() { _ = conn.Close() }()
			if h.admit(conn) {
				h.serve(conn)
				h.dismiss(conn)
			}
		})
	}
}

// admit registers a connection, so that Close can end it. It returns false if the server is closed.
func (h *Server) admit(conn net.Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conns == nil {
		return false
	}
	h.conns[conn] = struct{}{}
	return true
}

func (h *Server) dismiss(conn net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, conn)
}

// serve answers the calls of one client until either side closes.
func (h *Server) serve(client net.Conn) {
	redis, err := net.Dial("tcp", h.upstream)
	if err != nil || !h.admit(redis) {
		return
	}
	defer h.dismiss(redis)
	defer func() { _ = redis.Close() }()
	c := &conversation{
		server: h, client: client, redis: redis, replies: make(chan []byte), over: make(chan struct{}),
	}
	defer close(c.over)
	h.served.Go(c.relay)
	requests := bufio.NewReader(client)
	for {
		request, err := readRequest(requests)
		if err != nil {
			return
		}
		if err := c.answer(request); err != nil {
			if errors.Is(err, errSilent) {
				_, _ = io.Copy(io.Discard, requests)
			}
			return
		}
	}
}

// due records a call and reports whether the fault applies to it.
func (h *Server) due(call string) (Way, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls[call]++
	if h.fault.Call != call {
		return Way{}, false
	}
	h.faults++
	return h.fault.Way, true
}
