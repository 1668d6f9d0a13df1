// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package hostile

import (
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
)

func clientOfHostile(t *testing.T, h *Server) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: h.Addr(), MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestHostileServerAnswersAsRedisDoes(t *testing.T) {
	h := Start(t, redistest.Start(t).Addr(), Standalone, Fault{})
	client := clientOfHostile(t, h)
	if err := client.Set(t.Context(), "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if value, err := client.Get(t.Context(), "key").Result(); value != "value" || err != nil {
		t.Errorf("%q, %v", value, err)
	}
	subscription := client.Subscribe(t.Context(), "channel")
	t.Cleanup(func() { _ = subscription.Close() })
	if _, err := subscription.ReceiveTimeout(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := client.Publish(t.Context(), "channel", "hello").Err(); err != nil {
		t.Fatal(err)
	}
	if message, err := subscription.ReceiveMessage(t.Context()); err != nil || message.Payload != "hello" {
		t.Errorf("%v, %v", message, err)
	}
	for _, call := range []string{"HELLO", "SET", "GET", "SUBSCRIBE", "PUBLISH"} {
		if !slices.Contains(h.Calls(), call) {
			t.Errorf("%s is not among the calls %q", call, h.Calls())
		}
	}
}

func TestHostileServerMisbehavesInItsCallAlone(t *testing.T) {
	h := Start(t, redistest.Start(t).Addr(), Standalone, Fault{Call: "GET", Way: whole("error", "-ERR odd\r\n")})
	client := clientOfHostile(t, h)
	if err := client.Set(t.Context(), "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.Get(t.Context(), "key").Err(); err == nil || err.Error() != "ERR odd" {
		t.Errorf("%v", err)
	}
	h.Misbehave(Fault{})
	if err := client.Get(t.Context(), "key").Err(); err != nil || h.Misbehaved() != 1 {
		t.Errorf("%v, it misbehaved %d times", err, h.Misbehaved())
	}
}

// Each way has a name of its own and answers, and some calls have further ways.
func TestEachCallIsAnsweredInEachWay(t *testing.T) {
	upstream, request := redistest.Start(t).Addr(), "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"
	names := map[string]bool{}
	for _, fault := range Faults([]string{"GET"}) {
		if names[fault.Way.Name] {
			t.Errorf("two ways are called %s", fault.Way.Name)
		}
		names[fault.Way.Name] = true
		if fault.Way.Name == "silence" {
			continue
		}
		h := Start(t, upstream, Standalone, fault)
		conn, err := net.Dial("tcp", h.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		_, err = conn.Read(make([]byte, 1))
		if ends := fault.Way.Name == "closed" || fault.Way.Name == "reset"; (err != nil) != ends {
			t.Errorf("%s: %v", fault, err)
		}
		_ = conn.Close()
		h.Close()
	}
	for _, call := range []string{"INFO", "CLUSTER SLOTS", "SENTINEL SENTINELS", "SUBSCRIBE", "FCALL cw_stats"} {
		if of := len(Faults([]string{call})); of <= len(names) {
			t.Errorf("%s can be answered in %d ways, any call in %d", call, of, len(names))
		}
	}
}

func TestHostileServerHasTheRoleThatItClaims(t *testing.T) {
	upstream := redistest.Start(t).Addr()
	sentinel := Start(t, upstream, Sentinel, Fault{})
	primary := redis.NewFailoverClient(&redis.FailoverOptions{SentinelAddrs: []string{sentinel.Addr()}, MasterName: SentinelMaster})
	t.Cleanup(func() { _ = primary.Close() })
	node := Start(t, upstream, ClusterNode, Fault{})
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{node.Addr()}})
	t.Cleanup(func() { _ = cluster.Close() })
	old := clientOfHostile(t, Start(t, upstream, WithoutHello, Fault{}))
	for name, client := range map[string]redis.UniversalClient{"Sentinel": primary, "cluster": cluster, "old": old} {
		if err := client.Set(t.Context(), strings.ToLower(name), "value", 0).Err(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
