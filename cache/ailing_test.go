// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ailing is a proxy between clients and a real Redis that can make it fail. It passes on what a
// client sends when it connects.
type ailing struct {
	addr, upstream string

	listener net.Listener
	ailment  atomic.Pointer[ailment]
	struck   atomic.Int64 // commands that the ailment struck
	ended    chan struct{}

	mu    sync.Mutex
	conns []net.Conn
}

// ailment says what happens to commands.
type ailment struct {
	// strikes reports whether it affects a command. The name of an FCALL is that of the function.
	strikes func(command string) bool
	// instead returns what is sent to Redis in place of a command, nil for nothing.
	instead func(command []byte) []byte
}

func isData(command string) bool {
	return command == "mget" || command == "getex" || command == "smembers" || strings.HasPrefix(command, "cw_")
}

func isWrite(command string) bool { return command == "getex" || strings.HasPrefix(command, "cw_") }

func isFill(command string) bool { return command == "cw_set" }

// replying makes Redis itself send the reply, so that it comes in order.
func replying(reply string) func([]byte) []byte {
	script := fmt.Sprintf("return redis.error_reply('%s')", reply)
	instead := fmt.Appendf(nil, "*3\r\n$4\r\nEVAL\r\n$%d\r\n%s\r\n$1\r\n0\r\n", len(script), script)
	return func([]byte) []byte { return instead }
}

func late(by time.Duration) func([]byte) []byte {
	return func(command []byte) []byte {
		time.Sleep(by)
		return command
	}
}

func never([]byte) []byte { return nil }

func unchanged(command []byte) []byte { return command }

func startAiling(t *testing.T, upstream string) *ailing {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &ailing{addr: listener.Addr().String(), upstream: upstream, listener: listener, ended: make(chan struct{})}
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	t.Cleanup(func() {
		close(a.ended)
		a.die()
	})
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { a.serve(t.Context(), conn) })
		}
	})
	return a
}

// die closes all connections and takes no more.
func (a *ailing) die() {
	_ = a.listener.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, conn := range a.conns {
		_ = conn.Close()
	}
}

// fallIll resets the count to 0.
func (a *ailing) fallIll(with ailment) { a.ailment.Store(&with) }

func (a *ailing) serve(ctx context.Context, client net.Conn) {
	redis, err := new(net.Dialer).DialContext(ctx, "tcp", a.upstream)
	if err != nil {
		_ = client.Close()
		return
	}
	a.mu.Lock()
	a.conns = append(a.conns, client, redis)
	a.mu.Unlock()
	var replies sync.WaitGroup
	defer replies.Wait()
	defer redis.Close()
	defer client.Close()
	replies.Go(func() {
		_, _ = io.Copy(client, redis)
		_ = client.Close()
	})
	in := bufio.NewReader(client)
	for {
		name, command, err := readCommand(in)
		if err != nil {
			return
		}
		if ailment := a.ailment.Load(); ailment != nil && ailment.strikes(name) {
			a.struck.Add(1)
			if command = ailment.instead(command); command == nil {
				<-a.ended
				return
			}
		}
		if _, err := redis.Write(command); err != nil {
			return
		}
	}
}

// readCommand returns the lower-case name of a RESP command, or of the function it calls, and its
// bytes.
func readCommand(in *bufio.Reader) (name string, command []byte, err error) {
	var raw bytes.Buffer
	line := func(prefix string) (n int, err error) {
		text, err := in.ReadString('\n')
		raw.WriteString(text)
		if err == nil {
			_, err = fmt.Sscanf(text, prefix+"%d\r\n", &n)
		}
		return n, err
	}
	parts, err := line("*")
	for i := 0; i < parts && err == nil; i++ {
		var size int
		if size, err = line("$"); err != nil {
			break
		}
		part := make([]byte, size+len("\r\n"))
		_, err = io.ReadFull(in, part)
		raw.Write(part)
		if i == 0 || i == 1 && name == "fcall" {
			name = strings.ToLower(string(part[:size]))
		}
	}
	return name, raw.Bytes(), err
}
