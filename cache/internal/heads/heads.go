// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package heads follows the heads of modules in Redis. So a process knows which of the entries that
// it keeps are valid, without a call.
//
// A Tracker reads the heads of one module on a connection with tracking. On another connection,
// Redis reports that what was read there may have changed. Then no Stamp with that head is valid
// until the head was read again and holds the same value. Leases touch heads without changing them,
// and epochs never repeat. When either connection is lost, or silent for too long, no Stamp is
// valid. The Trackers of all modules that a node serves share these two connections, which are a
// link.
//
// Redis answers a ping after it has reported all changes before that ping. So a Stamp is never
// valid for longer than maxSilence after a change that covers it.
package heads

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxSilence is how long a link is trusted after a ping that was answered.
	maxSilence = time.Second
	// Pauses before connecting again.
	firstReconnect = 20 * time.Millisecond
	maxReconnect   = 2 * time.Second
	// unfitPause is the pause if the connections cannot be used, unless the address leads elsewhere
	// later.
	unfitPause = 5 * time.Second
	// batch is how many heads one MGET reads.
	batch = 256
)

// Tracker follows the heads of one module. Run must be running for a Stamp to be valid.
type Tracker struct {
	// Used, if set, returns a count that changes with each use of a Stamp of an operation. A head
	// that was not used since it was read is not read after a change, but when a Stamp is taken.
	// So deletions cost Redis little where many processes do not read what they keep.
	Used func(operation string) int64

	links  *Links
	slot   string // the key that names the slot
	limit  int
	policy func(context.Context) error
	dirty  chan struct{}

	mu        sync.Mutex
	link      *link // nil: none
	heads     map[string]*head
	unknown   []*head // to be read, and some that are not followed any more
	newPolicy bool
}

// head is what is known of one head. Its state is even while the value is known, and odd while the
// value must be read.
type head struct {
	key       string
	operation string // "": the head is not of an operation
	log       string // the key of the log of deletions of the operation
	state     atomic.Uint64

	// Guarded by Tracker.mu.
	entries watches // of an operation
	changes int     // how often it was reported to have changed
	value   string
	waits   bool  // it is in Tracker.unknown
	reading bool  // it is being read
	used    int64 // the count of uses when it was read
}

const dead = ^uint64(0) // odd

// Suffixes of the keys of a slot that are followed: docs/protocol.md.
const (
	moduleHead    = ":m"
	operationHead = ":o:"
	userHead      = ":u:"
	deletionsLog  = ":d:"
	policyKey     = ":policy"
)

// New returns a Tracker of the module whose slot has the key cw:{<namespace>/<module>}. It follows
// at most limit heads; when asked for more, it drops all and starts over. It calls policy to read
// the module's policy before it returns any Stamp, and whenever the policy may have changed. If
// that fails, it starts over, too. No two Trackers of a slot share Links.
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
	entry  *watch
}

// Stamp returns the state of an entry and of its heads. Take it before the entry is read from
// Redis. The entry may be served as long as the Stamp is valid. A Stamp with heads that were not
// followed so far is not valid. The Tracker follows them from then on.
func (t *Tracker) Stamp(operation, user, id string) Stamp {
	entry := digestOf(operation, user, id)
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
		if stamp.states[i]%2 != 0 {
			known = false
			t.request(h)
		}
	}
	if !known {
		return Stamp{}
	}
	stamp.entry = stamp.heads[1].entries.begin(entry)
	return stamp
}

// Valid reports whether nothing that covers the entry has changed since the Stamp was taken, as far
// as Redis has reported.
func (s *Stamp) Valid(now time.Time) bool {
	if s.n == 0 || now.UnixNano() >= s.link.trusted.Load() || s.link.since != s.link.generation() {
		return false
	}
	for i := range s.n {
		if s.heads[i].state.Load() != s.states[i] {
			return false
		}
	}
	return !s.entry.deleted.Load()
}

// Suspect says that this process may have changed a head: that of an operation, of a user or, if
// both are empty, of the module.
func (t *Tracker) Suspect(operation, user string) {
	name := moduleHead
	switch {
	case user != "":
		name = userHead + user
	case operation != "":
		name = operationHead + operation
	}
	t.changed(t.slot + name)
}

// Deleted says that this process may have deleted or replaced an entry.
func (t *Tracker) Deleted(operation, user, id string) {
	entry := digestOf(operation, user, id)
	t.mu.Lock()
	defer t.mu.Unlock()
	if h, followed := t.heads[t.slot+operationHead+operation]; followed {
		h.entries.delete(entry)
	}
}

// Forget makes all Stamps of an operation permanently invalid.
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

// forget makes all Stamps permanently invalid. It requires t.mu.
func (t *Tracker) forget() {
	for _, h := range t.heads {
		h.state.Store(dead)
	}
	t.heads, t.unknown = make(map[string]*head), nil
}

// follow returns a head, which is followed from then on. It requires t.mu.
func (t *Tracker) follow(name string) *head {
	key := t.slot + name
	h, known := t.heads[key]
	if !known {
		h = &head{key: key}
		if operation, is := strings.CutPrefix(name, operationHead); is {
			h.operation, h.log = operation, t.slot+deletionsLog+operation
		}
		h.state.Store(1)
		t.heads[key] = h
	}
	return h
}

// changed records that a key may have changed. If it is a head, Stamps with it are invalid until it
// was read again.
func (t *Tracker) changed(key string) {
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
	h.changes++
	h.state.Store(h.state.Load() | 1)
	if t.inUse(h) {
		t.request(h)
	}
}

// inUse says whether somebody used what a head covers since it was read, as far as is known. It
// requires t.mu.
func (t *Tracker) inUse(h *head) bool {
	return h.operation == "" || t.Used == nil || t.Used(h.operation) != h.used
}

// request requests that a head is read. If it is being read and has changed meanwhile, record does
// so. It requires t.mu.
func (t *Tracker) request(h *head) {
	if !h.waits && !h.reading {
		h.waits = true
		t.unknown = append(t.unknown, h)
	}
	t.wake()
}

func (t *Tracker) wake() {
	select {
	case t.dirty <- struct{}{}:
	default: // a wakeup is pending
	}
}
