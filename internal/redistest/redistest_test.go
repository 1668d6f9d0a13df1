// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package redistest_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
)

func TestServerLosesItsDataWhenKilledAndKeepsItsAddress(t *testing.T) {
	ctx := t.Context()
	server := redistest.Start(t, "--maxmemory", "10mb")
	client := server.Client()
	addr := server.Addr()

	if got := client.ConfigGet(ctx, "maxmemory").Val()["maxmemory"]; got != strconv.Itoa(10<<20) {
		t.Errorf("maxmemory = %s, want %d", got, 10<<20)
	}
	if err := client.Set(ctx, "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}

	server.Kill()
	server.Kill()
	if err := client.Ping(ctx).Err(); err == nil {
		t.Error("a killed server answered")
	}

	server.Restart()
	if server.Addr() != addr {
		t.Errorf("restarted on %s, was on %s", server.Addr(), addr)
	}
	if err := client.Get(ctx, "key").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("GET after the restart: %v, want %v", err, redis.Nil)
	}
}

func TestPausedServerKeepsConnectionsAndAnswersLater(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}

	server.Pause()
	answered := make(chan error, 1)
	go func() { answered <- client.Ping(context.Background()).Err() }()
	select {
	case err := <-answered:
		t.Errorf("a paused server answered: %v", err)
	case <-time.After(100 * time.Millisecond): // there is no event to wait for, because nothing must happen
	}

	server.Resume()
	if err := <-answered; err != nil {
		t.Errorf("after resuming: %v", err)
	}
}

func TestStartIsReadyWithAPassword(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "secret")
	err := server.Client().Ping(t.Context()).Err()
	if err == nil || !strings.HasPrefix(err.Error(), "NOAUTH") {
		t.Errorf("PING without the password: %v, want NOAUTH", err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server, err := redistest.Run(ctx, t.TempDir()+"/new", 0)
	if err != nil {
		t.Fatal(err)
	}
	client := server.Client()
	defer func() { _ = client.Close() }()
	if err := client.Ping(ctx).Err(); err != nil {
		t.Fatal(err)
	}

	cancel()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if client.Ping(context.Background()).Err() != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("still answers after its context was cancelled")
		}
	}
}

func TestRunSaysWhatIsWrong(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()

	tests := map[string]struct {
		port   int
		config []string
		want   string
	}{
		"port taken":        {port: listener.Addr().(*net.TCPAddr).Port, want: "port is taken"},
		"unknown directive": {config: []string{"--no-such-directive", "1"}, want: "no-such-directive"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server, err := redistest.Run(t.Context(), t.TempDir(), test.port, test.config...)
			if err == nil {
				server.Kill()
				t.Fatal("started all the same")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q does not say %q", err, test.want)
			}
		})
	}
}

func TestClusterServesEverySlotAndSurvivesARestart(t *testing.T) {
	ctx := t.Context()
	cluster := redistest.StartCluster(t, 3)
	client := cluster.Client()

	write := func() {
		t.Helper()
		for i := range 300 {
			if err := client.Set(ctx, "key-"+strconv.Itoa(i), i, 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
		for _, server := range cluster.Servers() {
			if keys := server.Client().DBSize(ctx).Val(); keys == 0 {
				t.Errorf("%s holds no key", server.Addr())
			}
		}
	}
	write()

	cluster.Servers()[1].Restart()
	cluster.WaitReady()
	write()
}
