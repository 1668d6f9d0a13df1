// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package respguard_test

import (
	"bytes"
	"context"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cachewright/cachewright/internal/respguard"
)

// confirmed is how Redis answers SUBSCRIBE.
const confirmed = "*3\r\n$9\r\nsubscribe\r\n$20\r\n__redis__:invalidate\r\n:1\r\n"

// messageSeeds are what a server may send to a subscription: as Redis does, and in the ways over
// which go-redis panics.
var messageSeeds = []string{
	confirmed + "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
	confirmed + "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*-1\r\n",
	confirmed + ">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nkey\r\n",
	confirmed + "*0\r\n", confirmed + ">0\r\n", confirmed + "*-1\r\n", confirmed + "_\r\n", confirmed + ":1\r\n",
	confirmed + "*1\r\n$7\r\nmessage\r\n",
	confirmed + "*2\r\n$7\r\nmessage\r\n$1\r\na\r\n",
	confirmed + "*3\r\n$7\r\nmessage\r\n:1\r\n:2\r\n",
	confirmed + "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n%1\r\n+k\r\n+v\r\n",
	confirmed + "*4\r\n$8\r\npmessage\r\n$1\r\na\r\n:1\r\n_\r\n",
	confirmed + "*1\r\n$4\r\npong\r\n", confirmed + "*2\r\n$4\r\npong\r\n:1\r\n",
	"*3\r\n$9\r\nsubscribe\r\n:1\r\n$1\r\na\r\n", "*1\r\n$9\r\nsubscribe\r\n", "*1\r\n:1\r\n",
	">3\r\n$6\r\nMOVING\r\n:1\r\n:2\r\n" + confirmed,
	"-ERR no\r\n", "",
}

// FuzzMessages lets a server send any bytes to a subscription: each message is one, or an error.
func FuzzMessages(f *testing.F) {
	for _, seed := range messageSeeds {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, sent []byte, resp3 bool) {
		client := redis.NewClient(recorded(sent, resp3))
		defer func() { _ = client.Close() }()
		messages := client.Subscribe(t.Context(), "__redis__:invalidate")
		defer func() { _ = messages.Close() }()
		for range len(sent) + 2 { // a message takes a byte at the least
			if message, err := respguard.Receive(t.Context(), messages, time.Second); err != nil || message == nil {
				return
			}
		}
		t.Error("there are more messages than bytes")
	})
}

// recorded are the options of a client whose server sends these bytes, whatever it is asked.
func recorded(sent []byte, resp3 bool) *redis.Options {
	protocol := 2
	if resp3 {
		protocol = 3
		sent = append([]byte("%1\r\n+proto\r\n:3\r\n"), sent...)
	}
	return &redis.Options{
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			return respguard.Wrap(&recording{Reader: bytes.NewReader(sent)}, respguard.Operator), nil
		},
		Protocol: protocol, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// recording is a connection that plays what was recorded.
type recording struct {
	net.Conn // nil: only what is below is called
	*bytes.Reader
}

func (r *recording) Read(p []byte) (int, error)     { return r.Reader.Read(p) }
func (*recording) Write(p []byte) (int, error)      { return len(p), nil }
func (*recording) Close() error                     { return nil }
func (*recording) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*recording) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*recording) SetDeadline(time.Time) error      { return nil }
func (*recording) SetReadDeadline(time.Time) error  { return nil }
func (*recording) SetWriteDeadline(time.Time) error { return nil }
