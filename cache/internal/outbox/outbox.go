// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package outbox keeps the invalidations that have not reached Redis yet, and delivers them when it
// can.
package outbox

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cachewright/cachewright/cache/internal/background"
	"github.com/cachewright/cachewright/registry"
)

const (
	// maxScopes of one module may wait. With more, the whole module does.
	maxScopes = 100
	// maxModules may wait. With more, all modules of the namespace do.
	maxModules = 1000
)

// ErrQueued is cache.ErrQueued.
var ErrQueued = errors.New("the invalidation is queued")

// EveryModule stands for all modules of the namespace, in place of a module's name.
const EveryModule = ""

// Scope is what an invalidation covers of a module. The zero Scope is all of it. A Scope with an ID
// is one entry.
type Scope struct{ Operation, User, ID string }

// contains reports whether a scope covers all that another one covers.
func (s Scope) contains(other Scope) bool {
	if s.ID != "" {
		return s == other
	}
	return (s.Operation == "" || s.Operation == other.Operation) &&
		(s.User == "" || s.User == other.User)
}

// waiting is the state of a scope in the outbox.
type waiting struct {
	mode registry.Mode
	// requested is the number of the last request for it. A delivery that began before that request
	// does not count: the scope is delivered again.
	requested uint64
}

// Outbox holds invalidations. Its memory is bounded: when there are too many it covers more, never
// less.
type Outbox struct {
	send       Send
	modules    func(context.Context) ([]string, error)
	background *background.Runner

	isWaiting atomic.Bool
	// wakeup says that an invalidation was requested again.
	wakeup chan struct{}

	maxScopes, maxModules int

	sendRelease SendRelease

	mu         sync.Mutex
	byModule   map[string]map[Scope]waiting
	releases   releases
	requests   uint64
	delivering bool
}

// New returns an empty Outbox. It calls send for each invalidation, in the background, until that
// succeeds. modules lists the modules of the namespace.
func New(
	send Send, modules func(context.Context) ([]string, error), runner *background.Runner,
) *Outbox {
	return &Outbox{
		send: send, modules: modules, background: runner,
		wakeup:    make(chan struct{}, 1),
		maxScopes: maxScopes, maxModules: maxModules,
		byModule: make(map[string]map[Scope]waiting),
	}
}

// Waiting reports whether there is anything in the Outbox.
func (o *Outbox) Waiting() bool { return o.isWaiting.Load() }

// Covers reports whether an invalidation that waits covers an entry. Then the entry must neither be
// read from Redis nor stored.
func (o *Outbox) Covers(key registry.Key) bool {
	if !o.isWaiting.Load() {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return covers(o.byModule[key.Module], key) || covers(o.byModule[EveryModule], key)
}

func covers(scopes map[Scope]waiting, key registry.Key) bool {
	if len(scopes) == 0 {
		return false
	}
	for _, s := range [...]Scope{
		{},
		{Operation: key.Operation},
		{Operation: key.Operation, User: key.User},
		{Operation: key.Operation, User: key.User, ID: key.ID},
		{User: key.User},
	} {
		if _, waits := scopes[s]; waits {
			return true
		}
	}
	return false
}

// Enqueue adds an invalidation that did not reach Redis, and has it delivered.
func (o *Outbox) Enqueue(module string, scope Scope, mode registry.Mode) {
	if o.add(module, scope, mode) && !o.background.Start(context.Background(), o.deliver) {
		o.stopIfEmpty()
	}
}

// Coalesce joins an invalidation to one that waits and covers it, and reports whether there is one.
// It speeds up the next attempt to deliver that one. A closed Outbox joins nothing, as it delivers
// nothing.
func (o *Outbox) Coalesce(module string, scope Scope, mode registry.Mode) bool {
	if o.background.Closed() || !o.renew(module, scope, mode) {
		return false
	}
	o.Hurry()
	return true
}

// Hurry shortens the pause before the next delivery: Redis may be back.
func (o *Outbox) Hurry() {
	select {
	case o.wakeup <- struct{}{}:
	default: // a wakeup is pending
	}
}

// Len returns how many scopes wait.
func (o *Outbox) Len() int {
	n, _ := o.summary()
	return n
}

// summary returns how many scopes wait, and their modules.
func (o *Outbox) summary() (scopes int, modules []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, of := range o.byModule {
		scopes += len(of)
	}
	return scopes, slices.Sorted(maps.Keys(o.byModule))
}

// add records an invalidation, and reports whether the caller must start the delivery.
func (o *Outbox) add(module string, scope Scope, mode registry.Mode) (start bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.addLocked(module, scope, mode)
}

// addLocked requires o.mu.
func (o *Outbox) addLocked(module string, scope Scope, mode registry.Mode) (start bool) {
	o.isWaiting.Store(true)
	if _, known := o.byModule[module]; !known && len(o.byModule) >= o.maxModules {
		o.byModule = make(map[string]map[Scope]waiting)
		o.releases.clear()
		module, scope, mode = EveryModule, Scope{}, registry.ModeHard
	}
	o.addScope(module, scope, mode)
	start = !o.delivering
	o.delivering = true
	return start
}

// addScope requires o.mu.
func (o *Outbox) addScope(module string, scope Scope, mode registry.Mode) {
	scopes := o.byModule[module]
	whole, isWhole := scopes[Scope{}]
	_, known := scopes[scope]
	switch {
	case isWhole && (whole.mode == registry.ModeHard || mode == registry.ModeSoft):
		scope = Scope{}
	case !known && len(scopes) >= o.maxScopes:
		scope, mode = Scope{}, hardest(scopes, mode)
	}
	if scope == (Scope{}) && mode == registry.ModeHard || scopes == nil {
		scopes = map[Scope]waiting{}
		o.byModule[module] = scopes
	}
	if whole.mode == registry.ModeHard && scope == (Scope{}) ||
		scopes[scope].mode == registry.ModeHard {
		mode = registry.ModeHard
	}
	o.requests++
	scopes[scope] = waiting{mode: mode, requested: o.requests}
}

func hardest(scopes map[Scope]waiting, mode registry.Mode) registry.Mode {
	for _, w := range scopes {
		if w.mode == registry.ModeHard {
			return registry.ModeHard
		}
	}
	return mode
}

// renew records a request that one which waits covers already, and reports whether there is one.
func (o *Outbox) renew(module string, scope Scope, mode registry.Mode) bool {
	if !o.isWaiting.Load() {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	of, found := o.covering(module, scope, mode)
	if found {
		o.renewLocked(module, of)
	}
	return found
}

// covering returns a scope that waits and covers another one. It requires o.mu.
func (o *Outbox) covering(module string, scope Scope, mode registry.Mode) (Scope, bool) {
	for of, w := range o.byModule[module] {
		if of.contains(scope) && (w.mode == registry.ModeHard || mode == registry.ModeSoft) {
			return of, true
		}
	}
	return Scope{}, false
}

// renewLocked requires o.mu.
func (o *Outbox) renewLocked(module string, scope Scope) {
	o.requests++
	w := o.byModule[module][scope]
	w.requested = o.requests
	o.byModule[module][scope] = w
}
