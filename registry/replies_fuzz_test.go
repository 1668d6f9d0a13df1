// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cachewright/cachewright/internal/respguard"
)

const (
	// fuzzTimeout is when a call counts as one that never ends.
	fuzzTimeout = 20 * time.Second
	// fuzzMemory bounds what a call may allocate, beside some times the reply.
	fuzzMemory = 48 << 20
	// refusedHello comes before the reply that is fuzzed.
	refusedHello = "-ERR unknown command 'HELLO'\r\n"
)

// FuzzReplies lets a server answer each call with any bytes. The call ends with an error or a
// well-formed answer, and takes no more memory than its bounds allow. call chooses among the calls
// of a Registry in the order of their names.
func FuzzReplies(f *testing.F) {
	calls := slices.Sorted(maps.Keys(hostileCalls))
	for _, seed := range replySeeds {
		for _, name := range seed.calls {
			f.Add(uint8(slices.Index(calls, name)), []byte(seed.reply))
		}
	}
	f.Fuzz(func(t *testing.T, call uint8, reply []byte) {
		name := calls[int(call)%len(calls)]
		client := redis.NewClient(tapeOptions(refusedHello, reply))
		defer func() { _ = client.Close() }()
		answerWell(t, name, client, len(reply))
	})
}

// FuzzHandshake lets a server answer what a connection begins with.
func FuzzHandshake(f *testing.F) {
	for _, seed := range replySeeds {
		f.Add([]byte(seed.reply))
	}
	f.Fuzz(func(t *testing.T, reply []byte) {
		client := redis.NewClient(tapeOptions("", reply))
		defer func() { _ = client.Close() }()
		answerWell(t, "Check", client, len(reply))
	})
}

// FuzzTopology lets the node of a cluster say anything of the others. What it says is answered by
// all of them.
func FuzzTopology(f *testing.F) {
	for _, seed := range replySeeds {
		f.Add([]byte(seed.reply))
	}
	for _, seed := range topologySeeds() {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, reply []byte) {
		options := tapeOptions(refusedHello, reply)
		client := redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: []string{"node:1"}, Dialer: options.Dialer, DisableIdentity: true, MaxRetries: -1, MaxRedirects: 1,
			DialerRetries: 1, ContextTimeoutEnabled: true, DisableRoutingPolicies: true, MaintNotificationsConfig: options.MaintNotificationsConfig,
		})
		respguard.WatchCluster(client)
		defer func() { _ = client.Close() }()
		answerWell(t, "Check", client, len(reply))
	})
}

// answerWell makes a call, and holds its answer and what it allocated against their bounds.
func answerWell(t *testing.T, name string, client redis.UniversalClient, length int) {
	ctx, cancel := context.WithTimeout(t.Context(), fuzzTimeout)
	defer cancel()
	before := allocated()
	answer, err := hostileCalls[name](ctx, New(client))
	if took := allocated() - before; took > uint64(fuzzMemory+100*length) {
		t.Errorf("%s allocated %d MiB", name, took>>20)
	}
	if ctx.Err() != nil {
		t.Errorf("%s did not end", name)
	}
	if err := wellFormed(answer, err); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// tapeOptions are those of a client whose server has its replies ready, and then is gone.
func tapeOptions(first string, reply []byte) *redis.Options {
	return &redis.Options{
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			return respguard.Wrap(&tape{reader: io.MultiReader(strings.NewReader(first), bytes.NewReader(reply))}, respguard.Operator), nil
		},
		Protocol: 2, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1, PoolSize: 1, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// tape is a connection to a server that answers what it has to say, whatever it is asked.
type tape struct {
	net.Conn // nil: what is not below is not used

	reader io.Reader
}

func (p *tape) Read(b []byte) (int, error)     { return p.reader.Read(b) }
func (*tape) Write(b []byte) (int, error)      { return len(b), nil }
func (*tape) Close() error                     { return nil }
func (*tape) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*tape) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*tape) SetDeadline(time.Time) error      { return nil }
func (*tape) SetReadDeadline(time.Time) error  { return nil }
func (*tape) SetWriteDeadline(time.Time) error { return nil }
