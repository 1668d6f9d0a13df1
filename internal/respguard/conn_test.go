// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package respguard

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pair returns both ends of a connection over loopback; ours is guarded.
func pair(t *testing.T, limits Limits) (ours, theirs net.Conn) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	inner, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	ours = Wrap(inner, limits)
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	return ours, theirs
}

func say(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

func TestRepliesPassUnchanged(t *testing.T) {
	ours, theirs := pair(t, testLimits)
	const replies = "+OK\r\n*2\r\n$3\r\na\r\n\r\n_\r\n"
	say(t, theirs, replies)
	got := make([]byte, len(replies))
	if _, err := io.ReadFull(ours, got); err != nil || string(got) != replies {
		t.Errorf("%q, %v", got, err)
	}
}

func TestViolationClosesTheConnectionAndStays(t *testing.T) {
	ours, theirs := pair(t, testLimits)
	closed := 0
	ours.(interface{ NotifyClose(fn func()) }).NotifyClose(func() { closed++ })
	say(t, theirs, "$21\r\n")
	var violation *Violation
	for range 2 {
		if n, err := ours.Read(make([]byte, 100)); n != 0 || !errors.As(err, &violation) {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
	if closed == 0 {
		t.Error("NotifyClose did not call fn")
	}
	_ = theirs.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the other end reads: %v", err)
	}
}

func TestTheSystemKnowsTheConnection(t *testing.T) {
	ours, _ := pair(t, testLimits)
	raw, ok := ours.(syscall.Conn)
	if !ok {
		t.Fatal("go-redis could not check whether an idle connection has ended")
	}
	if _, err := raw.SyscallConn(); err != nil {
		t.Error(err)
	}
	if Wrap(ours, testLimits) != ours {
		t.Error("it is guarded twice")
	}
}

// Without that go-redis would take what the system has of a TLS connection for a reply.
func TestTheSystemIsNotAskedAboutConnectionsThatItDoesNotKnow(t *testing.T) {
	inner, other := net.Pipe()
	t.Cleanup(func() { _, _ = inner.Close(), other.Close() })
	conn := Wrap(inner, testLimits)
	if _, ok := conn.(syscall.Conn); ok {
		t.Error("the system is asked")
	}
	if below, ok := conn.(interface{ NetConn() net.Conn }); !ok || below.NetConn() != inner {
		t.Error("the connection below cannot be found")
	}
}

// pastDeadlines is a connection on which each deadline has passed at once.
type pastDeadlines struct{ net.Conn }

func (c pastDeadlines) SetReadDeadline(t time.Time) error {
	if !t.IsZero() {
		t = time.Now().Add(-time.Second)
	}
	return c.Conn.SetReadDeadline(t)
}

func TestReplyThatBeginsAndDoesNotEndIsNotWaitedForForEver(t *testing.T) {
	inner, other := net.Pipe()
	t.Cleanup(func() { _, _ = inner.Close(), other.Close() })
	conn := Wrap(pastDeadlines{inner}, testLimits)
	go func() { _, _ = io.WriteString(other, "*2\r\n:1\r\n") }()
	if _, err := conn.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	_, err := conn.Read(make([]byte, 100))
	if violation := (*Violation)(nil); !errors.As(err, &violation) {
		t.Errorf("%v", err)
	}
}

func TestBetweenRepliesTheClientMayWaitForEver(t *testing.T) {
	inner, other := net.Pipe()
	t.Cleanup(func() { _, _ = inner.Close(), other.Close() })
	conn := Wrap(pastDeadlines{inner}, testLimits)
	for range 2 {
		go func() { _, _ = io.WriteString(other, ":1\r\n") }()
		if _, err := conn.Read(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
}

// A reply is read by the client in pieces of its own size; the guard costs one look at each header.
func BenchmarkScan(b *testing.B) {
	for name, reply := range map[string]string{
		"three short strings": "*3\r\n$11\r\n" + strings.Repeat("a", 11) + "\r\n$22\r\n" + strings.Repeat("a", 22) + "\r\n$200\r\n" + strings.Repeat("a", 200) + "\r\n",
		"a long string":       "$1048576\r\n" + strings.Repeat("a", 1<<20) + "\r\n",
		"a thousand numbers":  "*1000\r\n" + strings.Repeat(":1234\r\n", 1000),
	} {
		b.Run(name, func(b *testing.B) {
			s := newScanner(Application)
			if violation := s.scan([]byte("+OK\r\n")); violation != nil {
				b.Fatal(violation)
			}
			p := []byte(reply)
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				if violation := s.scan(p); violation != nil {
					b.Fatal(violation)
				}
			}
		})
	}
}
