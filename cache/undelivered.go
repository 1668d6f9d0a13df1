// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cachewright/cachewright/registry"
)

const (
	// undeliveredPieces of one module may wait; with more, the whole module does.
	undeliveredPieces = 100
	// undeliveredModules may wait; with more, all modules of the namespace do.
	undeliveredModules = 1000
)

// everyModule stands in place of a module's name for all of the namespace.
const everyModule = ""

// piece is what of a module an invalidation covers. The zero piece is all of it; with an id it is one
// entry.
type piece struct{ operation, user, id string }

// contains says whether all that the other covers is covered.
func (p piece) contains(other piece) bool {
	if p.id != "" {
		return p == other
	}
	return (p.operation == "" || p.operation == other.operation) && (p.user == "" || p.user == other.user)
}

type undeliveredPiece struct {
	mode registry.Mode
	// asked is when it was asked for last, by a count of all that was asked for: what was asked for again, or took the
	// place of something else, after a delivery had begun is to be delivered again.
	asked uint64
}

// undelivered is the invalidations that could not reach Redis. It takes bounded memory: where there are
// too many it covers more, never less.
type undelivered struct {
	waiting atomic.Bool
	// hurry says that something was asked for again.
	hurry chan struct{}

	mostPieces, mostModules int

	mu         sync.Mutex
	modules    map[string]map[piece]undeliveredPiece
	asked      uint64
	delivering bool
}

func newUndelivered() undelivered {
	return undelivered{
		hurry: make(chan struct{}, 1), mostPieces: undeliveredPieces, mostModules: undeliveredModules,
		modules: make(map[string]map[piece]undeliveredPiece),
	}
}

// add takes note of an invalidation, and says whether the caller is to begin delivering.
func (u *undelivered) add(module string, p piece, mode registry.Mode) (begin bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.waiting.Store(true)
	if _, known := u.modules[module]; !known && len(u.modules) >= u.mostModules {
		u.modules = make(map[string]map[piece]undeliveredPiece)
		module, p, mode = everyModule, piece{}, registry.ModeHard
	}
	u.addPiece(module, p, mode)
	begin = !u.delivering
	u.delivering = true
	return begin
}

// addPiece requires u.mu.
func (u *undelivered) addPiece(module string, p piece, mode registry.Mode) {
	pieces := u.modules[module]
	whole, isWhole := pieces[piece{}]
	_, known := pieces[p]
	switch {
	case isWhole && (whole.mode == registry.ModeHard || mode == registry.ModeSoft):
		p = piece{}
	case !known && len(pieces) >= u.mostPieces:
		p, mode = piece{}, hardest(pieces, mode)
	}
	if p == (piece{}) && mode == registry.ModeHard || pieces == nil {
		pieces = map[piece]undeliveredPiece{}
		u.modules[module] = pieces
	}
	if whole.mode == registry.ModeHard && p == (piece{}) || pieces[p].mode == registry.ModeHard {
		mode = registry.ModeHard
	}
	u.asked++
	pieces[p] = undeliveredPiece{mode: mode, asked: u.asked}
}

func hardest(pieces map[piece]undeliveredPiece, mode registry.Mode) registry.Mode {
	for _, waiting := range pieces {
		if waiting.mode == registry.ModeHard {
			return registry.ModeHard
		}
	}
	return mode
}

// addAgain takes note of an invalidation that one which waits already covers, and says whether there is one.
func (u *undelivered) addAgain(module string, p piece, mode registry.Mode) bool {
	if !u.waiting.Load() {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for of, waiting := range u.modules[module] {
		if of.contains(p) && (waiting.mode == registry.ModeHard || mode == registry.ModeSoft) {
			u.asked++
			waiting.asked = u.asked
			u.modules[module][of] = waiting
			return true
		}
	}
	return false
}

// covers says whether an entry must not be read from Redis, or filled, for now.
func (u *undelivered) covers(key registry.Key) bool {
	if !u.waiting.Load() {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return piecesCover(u.modules[key.Module], key) || piecesCover(u.modules[everyModule], key)
}

func piecesCover(pieces map[piece]undeliveredPiece, key registry.Key) bool {
	if len(pieces) == 0 {
		return false
	}
	for _, p := range [...]piece{
		{},
		{operation: key.Operation},
		{operation: key.Operation, user: key.User},
		{operation: key.Operation, user: key.User, id: key.ID},
		{user: key.User},
	} {
		if _, waits := pieces[p]; waits {
			return true
		}
	}
	return false
}

// parcel is one piece on its way to Redis.
type parcel struct {
	module string
	piece  piece
	undeliveredPiece
}

// parcels returns what waits, by module.
func (u *undelivered) parcels() map[string][]parcel {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := make(map[string][]parcel, len(u.modules))
	for module, pieces := range u.modules {
		for p, waiting := range pieces {
			all[module] = append(all[module], parcel{module: module, piece: p, undeliveredPiece: waiting})
		}
	}
	return all
}

// arrived forgets a piece, unless it was asked for again in the meantime.
func (u *undelivered) arrived(p parcel) {
	u.mu.Lock()
	defer u.mu.Unlock()
	pieces := u.modules[p.module]
	if pieces[p.piece] != p.undeliveredPiece {
		return
	}
	delete(pieces, p.piece)
	if len(pieces) == 0 {
		delete(u.modules, p.module)
	}
	u.waiting.Store(len(u.modules) > 0)
}

// finish says that nothing waits any more. Then the next add begins a new delivery.
func (u *undelivered) finish() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.delivering = len(u.modules) > 0
	return !u.delivering
}

// summary returns how many pieces wait, of which modules.
func (u *undelivered) summary() (pieces int, modules []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, of := range u.modules {
		pieces += len(of)
	}
	return pieces, slices.Sorted(maps.Keys(u.modules))
}
