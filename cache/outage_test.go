// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
)

// sickRedis takes connections and answers each command in one way, or not at all. It counts them, but for
// what a client sends by itself.
type sickRedis struct {
	addr     string
	commands atomic.Int64
	answer   func(net.Conn)
}

func startSickRedis(t *testing.T, answer func(net.Conn)) *sickRedis {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sickRedis{addr: listener.Addr().String(), answer: answer}
	var conns sync.WaitGroup
	t.Cleanup(conns.Wait)
	t.Cleanup(func() { _ = listener.Close() })
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			go s.serve(conn)
		}
	})
	return s
}

func (s *sickRedis) serve(conn net.Conn) {
	in := bufio.NewReader(conn)
	for {
		name, err := readCommand(in)
		if err != nil {
			return
		}
		if slices.Contains([]string{"hello", "client", "cluster", "command"}, name) {
			_, _ = io.WriteString(conn, "-ERR unknown command\r\n")
			continue
		}
		s.commands.Add(1)
		s.answer(conn)
	}
}

// readCommand returns the lower-case name of a RESP command.
func readCommand(in *bufio.Reader) (name string, err error) {
	var parts int
	if _, err := fmt.Fscanf(in, "*%d\r\n", &parts); err != nil {
		return "", err
	}
	for i := range parts {
		var size int
		if _, err := fmt.Fscanf(in, "$%d\r\n", &size); err != nil {
			return "", err
		}
		part := make([]byte, size+2)
		if _, err := io.ReadFull(in, part); err != nil {
			return "", err
		}
		if i == 0 {
			name = strings.ToLower(string(part[:size]))
		}
	}
	return name, nil
}

func reply(text string) func(net.Conn) {
	return func(conn net.Conn) { _, _ = io.WriteString(conn, text+"\r\n") }
}

// Once the breaker is open a sick Redis costs the application nothing: it is not even asked.
func TestSickRedisIsLeftAlone(t *testing.T) {
	for name, answer := range map[string]func(net.Conn){
		"hanging":    func(net.Conn) {},
		"slow":       func(conn net.Conn) { time.Sleep(100 * time.Millisecond); reply("*3\r\n$-1\r\n$-1\r\n$-1")(conn) },
		"LOADING":    reply("-LOADING Redis is loading the dataset in memory"),
		"READONLY":   reply("-READONLY You can't write against a read only replica."),
		"MOVED":      reply("-MOVED 1 127.0.0.1:1"),
		"hanging up": func(conn net.Conn) { _ = conn.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sick := startSickRedis(t, answer)
			// The client would follow each of these for seconds.
			c := newCache(t, redis.NewClient(redisOptions(sick.addr)), cache.WithTimeout(60*time.Millisecond))
			isOpen := func() bool {
				before := sick.commands.Load()
				for range 10 {
					fetchLoaded(t, c, usersGet)
				}
				return sick.commands.Load() == before
			}
			for range 10 {
				if isOpen() {
					break
				}
			}
			const fetches = 2000
			before := sick.commands.Load()
			start := time.Now()
			loads := 0
			for range fetches {
				_, _ = cache.Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) {
					loads++
					return "value", nil
				})
			}
			if loads != fetches {
				t.Errorf("%d loads, want %d", loads, fetches)
			}
			// One caller in half a second tries, and the client may try again for it.
			trials := 1 + int64(time.Since(start)/(500*time.Millisecond))
			if asked := sick.commands.Load() - before; asked > 8*trials {
				t.Errorf("Redis was asked %d times by %d fetches in %s", asked, fetches, time.Since(start))
			}
		})
	}
}
