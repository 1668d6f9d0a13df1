// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// service is one address for whatever server is the primary, as a Service of Kubernetes is.
type service struct {
	t         *testing.T
	listener  net.Listener
	primary   atomic.Pointer[redistest.Server]
	failovers atomic.Int64
}

func startService(t *testing.T) *service {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{t: t, listener: listener}
	s.primary.Store(redistest.Start(t))
	go s.accept()
	t.Cleanup(func() { _ = listener.Close() })
	return s
}

func (s *service) store() store { return store{s.listener.Addr().String()} }

func (s *service) accept() {
	for {
		client, err := s.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", s.primary.Load().Addr())
		if err != nil {
			_ = client.Close()
			continue
		}
		once := &sync.Once{}
		go pass(client, server, once)
		go pass(server, client, once)
	}
}

// pass copies in one direction until one of the connections ends. Then both end.
func pass(from, to net.Conn, once *sync.Once) {
	_, _ = io.Copy(to, from)
	once.Do(func() {
		_ = from.Close()
		_ = to.Close()
	})
}

// overFailovers is how much longer holds last in these runs: the commit must be able to come after
// the failover.
const overFailovers = 1100 * time.Millisecond

// failOver promotes a replica that misses what was written in the last moments: holds, releases,
// deletions and invalidations. It calls lose for the failover itself.
func (s *service) failOver(lose func(do func())) {
	primary := s.primary.Load()
	replica := redistest.StartReplica(s.t, primary)
	primary.PauseReplication()
	time.Sleep(maxHold/2 + rand.N(maxHold/2))
	lose(func() {
		primary.Kill()
		if err := replica.Client().Do(s.t.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
			s.t.Error("promoting the replica:", err)
		}
		s.primary.Store(replica)
	})
	s.failovers.Add(1)
}

// smallHold returns mostly entries. These holds last long, and what is held is not read from the
// cache.
func smallHold(key cache.Key) scope {
	if rand.IntN(30) == 0 {
		return randomHold(key)
	}
	return entryOf(key)
}

// startOver runs a plan while replicas are promoted that never saw the latest marks. Clients of
// other languages do not notice another primary, so none takes part.
func (r *heldRun) startOver(t *testing.T, s *service, enough func() bool) (members []*member) {
	t.Helper()
	members = r.members(t, s.store(), nil)
	more := foreignHolder{registry.New(s.store().open(t, nil))}
	r.start(t, s.store(), plan{
		members: members,
		holders: append(r.holders(t, s.store(), members), slices.Repeat([]holder{more}, 20)...), scopeOf: smallHold,
		enough:     enough,
		disturb:    r.unlessStarved(func() { s.failOver(r.ledger.loses) }),
		withoutRaw: true,
	})
	return members
}

// A failover to a replica that never saw a mark takes the mark away, and brings back what was
// cached before it. After the release, no read sees what was before the commit.
func TestNoReadReturnsWhatWasBeforeACommitUnderAHoldAfterAFailover(t *testing.T) {
	s, r := startService(t), &heldRun{longer: overFailovers}
	wanted := readsWanted(t, 300_000) / 30
	reads := r.enough(wanted)
	members := r.startOver(t, s, func() bool { return reads() && s.failovers.Load() >= 2 })
	if n := r.violated(); n > 0 {
		t.Errorf("%d reads broke the rules of holds", n)
	}
	if !reads() || s.failovers.Load() < 2 || r.commits.Load() < 20 {
		t.Errorf("%d failovers and %d commits, or too few reads: the test proves nothing", s.failovers.Load(), r.commits.Load())
	}
	r.checkEnd(t, members[0], s.primary.Load())
}

// The check finds a library that does not invalidate where a failover took the mark away.
func TestTheCheckFindsReleasesThatTrustAFailover(t *testing.T) {
	s, r := startService(t), &heldRun{longer: overFailovers}
	load(t, s.primary.Load(), "    hold.invalidate(held, thing, value or read_header(thing.key))\n", "")
	r.startOver(t, s, r.aViolation())
	if r.violated() == 0 {
		t.Error("releases of what was lost were ignored, but the check found nothing")
	}
}
