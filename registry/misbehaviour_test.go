// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cachewright/cachewright/internal/respguard"
	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/wire"
)

// answering is a server that answers each command as answer says; empty: with +OK. It returns its
// address.
func answering(t *testing.T, answer func(command []string) string) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go answerAll(conn, answer)
		}
	}()
	return listener.Addr().String()
}

func answerAll(conn net.Conn, answer func(command []string) string) {
	defer func() { _ = conn.Close() }()
	for in := bufio.NewReader(conn); ; {
		command, err := readCommand(in)
		if err != nil {
			return
		}
		reply := answer(command)
		if reply == "" {
			reply = "+OK\r\n"
		}
		if _, err := io.WriteString(conn, reply); err != nil {
			return
		}
	}
}

// readCommand reads an array of strings.
func readCommand(in *bufio.Reader) ([]string, error) {
	length := func(kind string) (int, error) {
		line, err := in.ReadString('\n')
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(line), kind))
	}
	parts, err := length("*")
	if err != nil {
		return nil, err
	}
	command := make([]string, parts)
	for i := range command {
		n, err := length("$")
		if err != nil {
			return nil, err
		}
		text := make([]byte, n+2)
		if _, err := io.ReadFull(in, text); err != nil {
			return nil, err
		}
		command[i] = strings.ToLower(string(text[:n]))
	}
	return command, nil
}

// to answers one command, named by its first words, with a reply, and HELLO as servers that speak
// RESP2 only.
func to(words, reply string) func([]string) string {
	return func(command []string) string {
		switch {
		case strings.HasPrefix(strings.Join(command, " "), words):
			return reply
		case command[0] == "hello":
			return "-ERR unknown command 'hello'\r\n"
		default:
			return ""
		}
	}
}

func bulk(text string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text) }

func operatorOf(t *testing.T, connection Connection) *Registry {
	t.Helper()
	connection.Role = RoleOperator
	client := connection.Client()
	t.Cleanup(func() { _ = client.Close() })
	return New(client)
}

func TestServerThatBreaksTheProtocolIsDistinguishedFromOneThatIsAway(t *testing.T) {
	for name, answer := range map[string]func([]string) string{
		"a string longer than memory":   to("info", "$9223372036854775805\r\n"),
		"a string of 40 GiB":            to("info", "$42949672960\r\n"),
		"more than the operator reads":  to("info", bulk(strings.Repeat("a:b\r\n", 1<<20))),
		"HELLO of two billion elements": to("hello", "*2000000000\r\n"),
		"HELLO of nested attributes":    to("hello", strings.Repeat("|0\r\n", 1000)),
		"an error without an end":       to("info", "-"+strings.Repeat("E", 1<<20)),
		"an array without a bottom":     to("info", strings.Repeat("*1\r\n", 1000)),
		"what is no Redis":              to("hello", "HTTP/1.1 400 Bad Request\r\ntoken=secret\r\n"),
		"a map where a string belongs":  to("info", "%1\r\n+token\r\n+secret\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			for range 3 { // go-redis tries again on another connection
				_, err := operatorOf(t, Connection{Addresses: []string{answering(t, answer)}}).Check(t.Context())
				if !errors.Is(err, ErrMisbehaves) || !ConcernsStore(err) {
					t.Fatalf("%v", err)
				}
				if text := err.Error(); strings.Contains(text, "secret") || strings.Contains(text, "HTTP") || len(text) > 400 {
					t.Errorf("it tells what the server said: %s", text)
				}
			}
		})
	}
}

// An application's own limits are wider: it reads entries.
func TestApplicationReadsTheLargestEntry(t *testing.T) {
	if respguard.Application.StringBytes < 64<<20+wire.HeaderFixedLen+6*wire.EpochLen {
		t.Error("the largest payload with its header is refused")
	}
	addr := answering(t, to("get", "$5000000\r\n"+strings.Repeat("a", 5000000)+"\r\n"))
	for role, want := range map[Role]error{RoleApplication: nil, RoleOperator: ErrMisbehaves} {
		client := Connection{Addresses: []string{addr}, Role: role}.Client()
		err := client.Get(t.Context(), "x").Err()
		if err != nil {
			err = fault.Classify("reading", err)
		}
		if !errors.Is(err, want) {
			t.Errorf("role %d: %v", role, err)
		}
		_ = client.Close()
	}
}

func TestNodesOfAClusterAreBounded(t *testing.T) {
	slots := func(nodes int) string {
		reply := fmt.Sprintf("*%d\r\n", nodes)
		for i := range nodes {
			reply += fmt.Sprintf("*3\r\n:%d\r\n:%d\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n", i, i, 20000+i)
		}
		return reply
	}
	for _, nodes := range []int{respguard.MaxNodes + 1, 5000} {
		_, err := operatorOf(t, Connection{Cluster: true, Addresses: []string{answering(t, to("cluster slots", slots(nodes)))}}).Check(t.Context())
		if !errors.Is(err, ErrMisbehaves) {
			t.Errorf("%d nodes: %v", nodes, err)
		}
	}
}

func TestClusterThatRedirectsForEverIsGivenUp(t *testing.T) {
	port := 20000
	var addr string
	addr = answering(t, func(command []string) string {
		if command[0] == "cluster" {
			_, own, _ := net.SplitHostPort(addr)
			return "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$-1\r\n:" + own + "\r\n"
		}
		if command[0] == "hello" {
			return to("", "")(command)
		}
		port++
		return fmt.Sprintf("-MOVED 1 127.0.0.%d:%d\r\n", port%250+1, port)
	})
	r := operatorOf(t, Connection{Cluster: true, Addresses: []string{addr}})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := r.Reclaim(ctx, users, 1); err == nil {
		t.Error("it found a server")
	}
}

func TestTopologyThatIsNotRedisIsRefused(t *testing.T) {
	for name, reply := range map[string]string{
		"a number":            ":1\r\n",
		"numbers":             "*2\r\n:1\r\n:2\r\n",
		"no node":             "*1\r\n*2\r\n:0\r\n:16383\r\n",
		"a slot too many":     "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\na\r\n:1\r\n",
		"a slot below zero":   "*1\r\n*3\r\n:-1\r\n:16383\r\n*2\r\n$1\r\na\r\n:1\r\n",
		"a port too many":     "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$1\r\na\r\n:65536\r\n",
		"a port that is text": "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$1\r\na\r\n$1\r\na\r\n",
		"a host with control": "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$2\r\na\x01\r\n:1\r\n",
		"a host that is none": "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n:1\r\n:1\r\n",
		"a node of one part":  "*1\r\n*3\r\n:0\r\n:16383\r\n*1\r\n$1\r\na\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			addr := answering(t, to("cluster slots", reply))
			if _, err := operatorOf(t, Connection{Cluster: true, Addresses: []string{addr}}).Check(t.Context()); !errors.Is(err, ErrMisbehaves) {
				t.Errorf("%v", err)
			}
		})
	}
}

// A Sentinel whose messages and answers have a word too few.
func TestSentinelsThatSpeakNonsenseDoNoHarm(t *testing.T) {
	primary := answering(t, to("ping", "+PONG\r\n"))
	host, port, _ := net.SplitHostPort(primary)
	named := "*2\r\n" + bulk(host) + bulk(port)
	for name, test := range map[string]struct {
		subscribed, named string
		works             bool
	}{
		"a message of two words": {"*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$6\r\nmain x\r\n", named, true},
		"an empty message":       {"*0\r\n", named, true},
		"a message of a number":  {"*1\r\n:1\r\n", named, true},
		"a message of one part":  {"*1\r\n$7\r\nmessage\r\n", named, true},
		"a message of arrays":    {"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n*1\r\n:1\r\n", named, true},
		"a primary of no parts":  {"", "*0\r\n", false},
		"a primary of one part":  {"", "*1\r\n$1\r\na\r\n", false},
		"a primary of numbers":   {"", "*2\r\n:1\r\n:2\r\n", false},
		"a port of letters":      {"", "*2\r\n$1\r\na\r\n$1\r\na\r\n", false},
		"a host of control":      {"", "*2\r\n$2\r\na\x01\r\n$1\r\n1\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan struct{}, 1000)
			sentinel := answering(t, func(command []string) string {
				switch command[0] {
				case "sentinel":
					asked <- struct{}{}
					return test.named
				case "subscribe":
					return test.subscribed
				default:
					return to("", "-ERR unknown command\r\n")(command)
				}
			})
			client := Connection{MasterName: "main", Addresses: []string{sentinel}}.Client()
			defer func() { _ = client.Close() }()
			err := client.Ping(t.Context()).Err()
			if !test.works {
				if !errors.Is(fault.Classify("", err), ErrMisbehaves) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for range 4 { // the goroutine that listens survived
				<-asked
			}
		})
	}
}

func TestNobodyListensToSentinelsOfAClientThatIsClosed(t *testing.T) {
	primary := answering(t, to("ping", "+PONG\r\n"))
	host, port, _ := net.SplitHostPort(primary)
	sentinel := answering(t, to("sentinel", "*2\r\n"+bulk(host)+bulk(port)))
	client := Connection{MasterName: "main", Addresses: []string{sentinel}}.Client()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
	for deadline := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
		stacks := make([]byte, 1<<20)
		if stacks = stacks[:runtime.Stack(stacks, true)]; !strings.Contains(string(stacks), "sentinels).follow") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("somebody does")
		}
	}
}
