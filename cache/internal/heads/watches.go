// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package heads

import (
	"maps"
	"sync/atomic"
	"weak"
)

// minSwept is how many watches are made before those that nobody holds are looked for.
const minSwept = 1000

// watch says whether an entry was deleted since a Stamp of it was taken.
type watch struct{ deleted atomic.Bool }

// watches are those of an operation's entries that somebody holds. Stamps are dropped without
// notice, hence the weak pointers. Tracker.mu guards them.
type watches struct {
	of      map[digest]weak.Pointer[watch]
	sweepAt int
}

// begin returns the watch of an entry, which is deleted no more than by what happens from now on.
func (w *watches) begin(entry digest) *watch {
	if held := w.of[entry].Value(); held != nil {
		return held
	}
	if len(w.of) >= max(w.sweepAt, minSwept) {
		w.sweep()
	}
	if w.of == nil {
		w.of = make(map[digest]weak.Pointer[watch])
	}
	begun := new(watch)
	w.of[entry] = weak.Make(begun)
	return begun
}

// sweep forgets what nobody holds. The next one is due when there are twice as many as are left, so
// each costs no more than what came between. A map keeps its size, so the rest moves to another.
func (w *watches) sweep() {
	maps.DeleteFunc(w.of, func(_ digest, held weak.Pointer[watch]) bool { return held.Value() == nil })
	w.of, w.sweepAt = maps.Clone(w.of), 2*len(w.of)
}

// delete ends all Stamps of an entry.
func (w *watches) delete(entry digest) {
	if held := w.of[entry].Value(); held != nil {
		held.deleted.Store(true)
	}
	delete(w.of, entry)
}
