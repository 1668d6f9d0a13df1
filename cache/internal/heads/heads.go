// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package heads follows the heads of modules in Redis, so that what a process keeps of their entries is
// known to be valid without asking.
//
// A Tracker reads the heads of one module on a connection that tracks: Redis tells, on another, that what was read there
// may have changed. Until the head is seen to hold what it held before, no Stamp with it is valid: leases touch heads
// without changing them, and epochs never repeat. When either connection is lost, or silent for too long, no Stamp is
// valid. The Trackers of all modules that a node serves share these two connections, which are a link.
//
// How late that can be: what was changed before a sign of life was asked for is told before it comes. So a
// Stamp is never valid later than silence after a change that covers it.
package heads

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// silence is how long the connection is believed after a sign of life was asked for that came.
	silence = time.Second
	// Pauses before connecting again.
	reconnectFirst = 20 * time.Millisecond
	reconnectMost  = 2 * time.Second
	// unfitPause is that pause where the connections cannot be used at all, unless somebody changes where they lead.
	unfitPause = 5 * time.Second
	// batch is how many heads one MGET looks at.
	batch = 256
)

// Tracker follows the heads of one module. Run must be running for a Stamp to be valid.
type Tracker struct {
	links  *Links
	slot   string // the key that names the slot
	limit  int
	policy func(context.Context) error
	dirty  chan struct{}

	mu        sync.Mutex
	link      *link // nil: none is there
	heads     map[string]*head
	odd       []*head // those to look at, and some that are not followed any more
	newPolicy bool
}

// head is what is known of one head. An even state is that of a known value; it is odd while the value
// must be looked at.
type head struct {
	key   string
	state atomic.Uint64

	// Guarded by Tracker.mu.
	notices int // how often it was said to have changed
	value   string
	waits   bool // in Tracker.odd
}

const dead = ^uint64(0) // odd

// What is followed of a slot: docs/protocol.md.
const (
	moduleHead    = ":m"
	operationHead = ":o:"
	userHead      = ":u:"
	policyKey     = ":policy"
)

// New returns a Tracker of the module whose slot is named by a key, cw:{<namespace>/<module>}. It
// follows at most so many heads; asked for more, it begins anew. It has policy read the module's policy
// before any Stamp is given and whenever the policy may have changed; if that fails, it begins anew, too. No two
// Trackers of a slot share Links.
func New(links *Links, slot string, limit int, policy func(context.Context) error) *Tracker {
	return &Tracker{
		links: links, slot: slot, limit: limit, policy: policy,
		dirty: make(chan struct{}, 1), heads: make(map[string]*head),
	}
}

// Stamp is the state of the heads that cover an entry. The zero Stamp is never valid.
type Stamp struct {
	link   *link
	heads  [3]*head
	states [3]uint64
	n      int
}

// Stamp returns the state of the heads of an entry. What is read from Redis after it was taken is good
// for as long as it is valid. It is not for heads that were not followed so far; these are from now on.
func (t *Tracker) Stamp(operation, user string) Stamp {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.link == nil || t.link.since != t.link.generation() {
		return Stamp{}
	}
	names := []string{moduleHead, operationHead + operation, userHead + user}
	if user == "" {
		names = names[:2]
	}
	if len(t.heads)+len(names) > t.limit {
		t.forget()
	}
	stamp, known := Stamp{link: t.link, n: len(names)}, true
	for i, name := range names {
		h := t.follow(name)
		stamp.heads[i], stamp.states[i] = h, h.state.Load()
		known = known && stamp.states[i]%2 == 0
	}
	if !known {
		return Stamp{}
	}
	return stamp
}

// Valid says whether nothing that covers the entry has changed since the stamp was taken, as far as Redis
// has told.
func (s *Stamp) Valid(now time.Time) bool {
	if s.n == 0 || now.UnixNano() >= s.link.believed.Load() || s.link.since != s.link.generation() {
		return false
	}
	for i := range s.n {
		if s.heads[i].state.Load() != s.states[i] {
			return false
		}
	}
	return true
}

// Suspect says that this process has changed heads: those of an operation, of a user or, both empty, of
// the module.
func (t *Tracker) Suspect(operation, user string) {
	name := moduleHead
	switch {
	case user != "":
		name = userHead + user
	case operation != "":
		name = operationHead + operation
	}
	t.notice(t.slot + name)
}

// Forget makes all stamps of an operation invalid for ever.
func (t *Tracker) Forget(operation string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := t.slot + operationHead + operation
	if h, followed := t.heads[key]; followed {
		h.state.Store(dead)
		delete(t.heads, key)
	}
}

func (t *Tracker) begin(l *link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.link = l
}

func (t *Tracker) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.link = nil
	t.forget()
}

// forget makes all stamps invalid for ever. Requires t.mu.
func (t *Tracker) forget() {
	for _, h := range t.heads {
		h.state.Store(dead)
	}
	t.heads, t.odd = make(map[string]*head), nil
}

// follow requires t.mu.
func (t *Tracker) follow(name string) *head {
	key := t.slot + name
	h, known := t.heads[key]
	if !known {
		h = &head{key: key}
		t.heads[key] = h
		t.suspect(h)
	}
	return h
}

// notice makes stamps with a head invalid until it was looked at, or has the policy read.
func (t *Tracker) notice(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if key == t.slot+policyKey {
		t.newPolicy = true
		t.wake()
		return
	}
	h, followed := t.heads[key]
	if !followed {
		return
	}
	h.notices++
	t.suspect(h)
}

// suspect has a head looked at. Requires t.mu.
func (t *Tracker) suspect(h *head) {
	h.state.Store(h.state.Load() | 1)
	if !h.waits {
		h.waits = true
		t.odd = append(t.odd, h)
	}
	t.wake()
}

func (t *Tracker) wake() {
	select {
	case t.dirty <- struct{}{}:
	default: // it is being seen to
	}
}

// seen is a head as it was when its value was asked for.
type seen struct {
	head    *head
	notices int
}

// suspects takes some of the heads that are to be looked at. Stamps wait meanwhile, so it does not go through the others.
func (t *Tracker) suspects() (keys []string, asked []seen) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.odd) > 0 && len(keys) < batch {
		h := t.odd[0]
		t.odd = t.odd[1:]
		h.waits = false
		if t.heads[h.key] == h {
			keys, asked = append(keys, h.key), append(asked, seen{h, h.notices})
		}
	}
	return keys, asked
}

// settle takes note of values, but of heads that were noticed again after their value was asked for.
func (t *Tracker) settle(asked []seen, values []any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, s := range asked {
		if t.heads[s.head.key] != s.head || s.head.notices != s.notices {
			continue
		}
		value, _ := values[i].(string) // "" where there is none, which is not the only state that has none
		state := s.head.state.Load()
		if value != "" && s.head.value == value {
			s.head.state.Store(state - 1)
			continue
		}
		s.head.value = value
		s.head.state.Store(state + 1)
	}
}
