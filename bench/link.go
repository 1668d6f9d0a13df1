// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// linkDelay is how late each answer arrives.
	linkDelay = time.Millisecond
	// linkGoroutines are few, so that the link is what they wait for, and not the cores.
	linkGoroutines = 8
	// linkChunks may be under way on a connection.
	linkChunks = 1024
)

// farClient returns a client of a new server at the end of a link.
func (l *lab) farClient(ctx context.Context) (*redis.Client, error) {
	server, err := l.server(ctx)
	if err != nil {
		return nil, err
	}
	addr, err := l.link(server.Addr())
	if err != nil {
		return nil, err
	}
	return l.clientAt(addr), nil
}

// link starts a proxy that delays answers. They do not wait for one another.
func (l *lab) link(upstream string) (addr string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	l.onClose(func() { _ = listener.Close() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", upstream)
			if err != nil {
				_ = near.Close()
				continue
			}
			go carry(near, far, 0)
			go carry(far, near, linkDelay)
		}
	}()
	return listener.Addr().String(), nil
}

// delayed is what was read at once, and when it arrives.
type delayed struct {
	bytes []byte
	due   time.Time
}

// carry ends when either side has closed its connection, and closes both.
func carry(from, to net.Conn, delay time.Duration) {
	chunks := make(chan delayed, linkChunks)
	go func() {
		defer close(chunks)
		for {
			bytes := make([]byte, 16<<10)
			n, err := from.Read(bytes)
			if err != nil {
				return
			}
			chunks <- delayed{bytes[:n], time.Now().Add(delay)}
		}
	}()
	for c := range chunks {
		time.Sleep(time.Until(c.due))
		if _, err := to.Write(c.bytes); err != nil {
			_ = from.Close() // ends the reader; what it has read is dropped
		}
	}
	_ = to.Close()
}
