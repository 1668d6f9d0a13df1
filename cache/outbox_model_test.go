// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cachewright/cachewright/registry"
)

// asked is an invalidation in the model of the outbox: what was asked for, and whether Redis has carried it out since.
type asked struct {
	module string
	piece  piece
	mode   registry.Mode
	done   bool
}

// coveredBy says whether a parcel that reaches Redis carries an invalidation out.
func (a *asked) coveredBy(p parcel) bool {
	return (p.module == everyModule || p.module == a.module) && p.piece.contains(a.piece) &&
		(p.mode == registry.ModeHard || a.mode == registry.ModeSoft)
}

// outboxModel holds undelivered against a plain list of all that was asked for.
type outboxModel struct {
	outbox undelivered
	asked  []*asked
	// The delivery under way: its parcels, and how much had been asked for when it began.
	parcels []parcel
	began   int
}

func (m *outboxModel) ask(t *rapid.T) {
	a := &asked{
		module: fmt.Sprint("m", rapid.IntRange(0, 5).Draw(t, "module")),
		piece: piece{
			operation: rapid.SampledFrom([]string{"", "a", "b", "c", "d"}).Draw(t, "operation"),
			user:      rapid.SampledFrom([]string{"", "u", "v"}).Draw(t, "user"),
		},
		mode: rapid.SampledFrom([]registry.Mode{registry.ModeHard, registry.ModeSoft}).Draw(t, "mode"),
	}
	if a.piece.operation != "" && rapid.IntRange(0, 3).Draw(t, "of one entry") == 0 {
		a.piece.id, a.mode = rapid.SampledFrom([]string{"x", "y"}).Draw(t, "id"), registry.ModeHard
	}
	if rapid.IntRange(0, 9).Draw(t, "everywhere") == 0 {
		a.module, a.piece = everyModule, piece{user: "u"}
	}
	m.asked = append(m.asked, a)
	if !rapid.Bool().Draw(t, "joins") || !m.outbox.addAgain(a.module, a.piece, a.mode) {
		m.outbox.add(a.module, a.piece, a.mode)
	}
}

func (m *outboxModel) begin(*rapid.T) {
	m.began, m.parcels = len(m.asked), nil
	for _, of := range m.outbox.parcels() {
		m.parcels = append(m.parcels, of...)
	}
	slices.SortFunc(m.parcels, func(a, b parcel) int { return cmp.Compare(a.asked, b.asked) }) // so that a seed repeats it
}

// arrive lets Redis carry out one parcel: that does all that was asked for before the delivery began.
func (m *outboxModel) arrive(t *rapid.T) {
	if len(m.parcels) == 0 {
		t.Skip("nothing is on its way")
	}
	i := rapid.IntRange(0, len(m.parcels)-1).Draw(t, "parcel")
	p := m.parcels[i]
	m.parcels = append(m.parcels[:i:i], m.parcels[i+1:]...)
	for _, a := range m.asked[:m.began] {
		a.done = a.done || a.coveredBy(p)
	}
	m.outbox.arrived(p)
}

func (m *outboxModel) check(t *rapid.T) {
	waiting := m.outbox.parcels()
	for _, a := range m.asked {
		if a.done {
			continue
		}
		kept := false
		for _, p := range append(waiting[a.module], waiting[everyModule]...) {
			kept = kept || a.coveredBy(p)
		}
		if !kept {
			t.Fatalf("%+v is lost; what waits is %+v", *a, waiting)
		}
	}
	if len(waiting) > m.outbox.mostModules {
		t.Fatalf("%d modules wait", len(waiting))
	}
	for module, pieces := range waiting {
		if len(pieces) > m.outbox.mostPieces+1 {
			t.Fatalf("%d pieces of %q wait", len(pieces), module)
		}
	}
	if m.outbox.waiting.Load() != (len(waiting) > 0) {
		t.Fatalf("waiting is %v with %d modules", m.outbox.waiting.Load(), len(waiting))
	}
}

// However invalidations and deliveries meet, one that was asked for waits until a delivery that began after it has arrived.
func TestNoQueuedInvalidationIsLostWhateverArrivesMeanwhile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &outboxModel{outbox: newUndelivered()}
		m.outbox.mostPieces, m.outbox.mostModules = 3, 3
		t.Repeat(map[string]func(*rapid.T){"ask": m.ask, "begin": m.begin, "arrive": m.arrive, "": m.check})
	})
}

// At a second overflow a delivery of the first is under way. It is too old for what was queued since.
func TestASecondOverflowIsKeptWhenTheDeliveryOfTheFirstArrives(t *testing.T) {
	u := newUndelivered()
	overflow := func() {
		for i := range undeliveredModules + 1 {
			u.add(fmt.Sprint(i), piece{}, registry.ModeHard)
		}
	}
	overflow()
	underWay := u.parcels()[everyModule]
	overflow()
	for _, p := range underWay {
		u.arrived(p)
	}
	if !u.covers(registry.Key{Slot: registry.Slot{Module: "7"}, Operation: "get"}) {
		t.Error("what was queued after the delivery began is forgotten")
	}
}
