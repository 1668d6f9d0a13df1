// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package purges

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// proxy forwards to a server on loopback and can simulate a broken network. Connections stay open,
// but nothing passes until it heals. It can also block only the answers. It counts invalidations.
type proxy struct {
	listener net.Listener
	target   string

	mu      sync.Mutex
	healed  *sync.Cond
	parted  bool
	muted   bool
	ended   bool
	streams map[net.Conn]bool
	asked   map[string]int // by the bytes of the call
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, target: target, streams: map[net.Conn]bool{}, asked: map[string]int{}}
	p.healed = sync.NewCond(&p.mu)
	go p.accept()
	t.Cleanup(p.end)
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) part() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parted = true
}

// mute lets requests pass and blocks all answers.
func (p *proxy) mute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.muted = true
}

func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parted, p.muted = false, false
	p.healed.Broadcast()
}

// sever closes all connections, discards what they held, and heals the network for new ones.
func (p *proxy) sever() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for stream := range p.streams {
		_ = stream.Close()
	}
	p.parted, p.muted = false, false
	p.healed.Broadcast()
}

// repeated returns how many invalidations were asked for more than once.
func (p *proxy) repeated() (calls int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, times := range p.asked {
		if times > 1 {
			calls++
		}
	}
	return calls
}

// record counts the invalidations in a request. One that comes in two pieces is not counted.
func (p *proxy) record(request []byte) {
	const call = "fcall\r\n$13\r\ncw_invalidate\r\n"
	for _, invalidation := range strings.Split(string(request), call)[1:] {
		p.asked[invalidation]++
	}
}

func (p *proxy) end() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.sever()
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		go p.copy(gate{Conn: client, p: p, answers: true}, server)
		go p.copy(gate{Conn: server, p: p}, client)
	}
}

func (p *proxy) copy(to gate, from net.Conn) {
	p.mu.Lock()
	p.streams[from] = true
	p.mu.Unlock()
	_, _ = io.Copy(to, from) // ends when either side closes
	_ = to.Close()
	_ = from.Close()
	p.mu.Lock()
	delete(p.streams, from)
	p.mu.Unlock()
}

// gate lets writes pass unless the network is broken.
type gate struct {
	net.Conn
	p       *proxy
	answers bool
}

func (g gate) Write(chunk []byte) (int, error) {
	g.p.mu.Lock()
	if !g.answers {
		g.p.record(chunk)
	}
	for g.p.parted || g.answers && g.p.muted {
		g.p.healed.Wait()
	}
	ended := g.p.ended
	g.p.mu.Unlock()
	if ended {
		return 0, net.ErrClosed
	}
	return g.Conn.Write(chunk)
}
