// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
)

// holdup is a way to Redis on which a command can be held up: it is received, and never arrives.
type holdup struct {
	addr string

	mu      sync.Mutex
	command []byte        // in lower case; nil: none is held up
	met     chan struct{} // closed once one was
}

// startHoldup leads to the server at an address until ctx ends.
func startHoldup(ctx context.Context, server string) (*holdup, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h := &holdup{addr: listener.Addr().String()}
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go h.lead(ctx, client, server)
		}
	}()
	return h, nil
}

// lead leads one connection.
func (h *holdup) lead(ctx context.Context, client net.Conn, server string) {
	defer func() { _ = client.Close() }()
	redis, err := (&net.Dialer{}).DialContext(ctx, "tcp", server)
	if err != nil {
		return
	}
	defer func() { _ = redis.Close() }()
	go func() { _, _ = io.Copy(client, redis) }()
	sent := make([]byte, 64<<10)
	for {
		n, err := client.Read(sent)
		if err != nil {
			return
		}
		if h.holds(sent[:n]) {
			<-ctx.Done() // the client waits for an answer meanwhile
			return
		}
		if _, err := redis.Write(sent[:n]); err != nil {
			return
		}
	}
}

// holds says whether what was sent has the command. If so, the caller sends nothing of it.
func (h *holdup) holds(sent []byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.command == nil || !bytes.Contains(bytes.ToLower(sent), h.command) {
		return false
	}
	select {
	case <-h.met: // another one before
	default:
		close(h.met)
	}
	return true
}

// next holds up a command from now on. The channel is closed once it was sent.
func (h *holdup) next(command string) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.command, h.met = []byte(command), make(chan struct{})
	return h.met
}
