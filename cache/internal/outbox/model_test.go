// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cachewright/cachewright/registry"
)

// asked is an invalidation in the model of the outbox: what was asked for, and whether Redis has
// carried it out since.
type asked struct {
	module string
	scope  Scope
	mode   registry.Mode
	done   bool
}

// coveredBy reports whether an item that reaches Redis does what was asked for.
func (a *asked) coveredBy(it item) bool {
	return (it.module == EveryModule || it.module == a.module) && it.scope.contains(a.scope) &&
		(it.mode == registry.ModeHard || a.mode == registry.ModeSoft)
}

// outboxModel checks the Outbox against a plain list of all that was asked for.
type outboxModel struct {
	outbox *Outbox
	asked  []*asked
	// The delivery under way: its items, and how much had been asked for when it began.
	items []item
	began int
}

func (m *outboxModel) ask(t *rapid.T) {
	a := &asked{
		module: fmt.Sprint("m", rapid.IntRange(0, 5).Draw(t, "module")),
		scope: Scope{
			Operation: rapid.SampledFrom([]string{"", "a", "b", "c", "d"}).Draw(t, "operation"),
			User:      rapid.SampledFrom([]string{"", "u", "v"}).Draw(t, "user"),
		},
		mode: rapid.SampledFrom([]registry.Mode{registry.ModeHard, registry.ModeSoft}).Draw(t, "mode"),
	}
	if a.scope.Operation != "" && rapid.IntRange(0, 3).Draw(t, "of one entry") == 0 {
		a.scope.ID, a.mode = rapid.SampledFrom([]string{"x", "y"}).Draw(t, "id"), registry.ModeHard
	}
	if rapid.IntRange(0, 9).Draw(t, "everywhere") == 0 {
		a.module, a.scope = EveryModule, Scope{User: "u"}
	}
	m.asked = append(m.asked, a)
	if !rapid.Bool().Draw(t, "joins") || !m.outbox.renew(a.module, a.scope, a.mode) {
		m.outbox.add(a.module, a.scope, a.mode)
	}
}

// askRelease asks for the release of a hold, which is an invalidation of all that it covers.
func (m *outboxModel) askRelease(t *rapid.T) {
	module := fmt.Sprint("m", rapid.IntRange(0, 5).Draw(t, "module"))
	var of []Scope
	for _, operation := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 1, 3, rapid.ID).Draw(t, "operations") {
		of = append(of, Scope{Operation: operation})
		m.asked = append(m.asked, &asked{module: module, scope: Scope{Operation: operation}, mode: registry.ModeHard})
	}
	hold := Hold{ID: registry.HoldID{rapid.Byte().Draw(t, "hold")}, Ends: time.Now().Add(time.Hour)}
	if !rapid.Bool().Draw(t, "joins") || !m.outbox.joinRelease(module, of, hold) {
		m.outbox.addRelease(module, of, hold)
	}
}

// checkReleases checks that marks are noted only for modules to which something is delivered, and
// that they are counted.
func (m *outboxModel) checkReleases(t *rapid.T) {
	size := 0
	for module, marks := range m.outbox.releases.byModule {
		if len(marks) == 0 || len(m.outbox.byModule[module]) == 0 {
			t.Fatalf("%d marks are noted in %q, where %d scopes wait", len(marks), module, len(m.outbox.byModule[module]))
		}
		size += len(marks)
	}
	if size != m.outbox.releases.size {
		t.Fatalf("%d marks are noted, and count as %d", size, m.outbox.releases.size)
	}
}

func (m *outboxModel) begin(*rapid.T) {
	m.began, m.items = len(m.asked), nil
	for _, of := range m.outbox.items() {
		m.items = append(m.items, of...)
	}
	slices.SortFunc(m.items, func(a, b item) int { return cmp.Compare(a.requested, b.requested) }) // so that a seed repeats it
}

// arrive lets Redis carry out one item. That does what was asked for before the delivery began.
func (m *outboxModel) arrive(t *rapid.T) {
	if len(m.items) == 0 {
		t.Skip("nothing is on its way")
	}
	i := rapid.IntRange(0, len(m.items)-1).Draw(t, "item")
	p := m.items[i]
	m.items = append(m.items[:i:i], m.items[i+1:]...)
	for _, a := range m.asked[:m.began] {
		a.done = a.done || a.coveredBy(p)
	}
	m.outbox.remove(p)
}

func (m *outboxModel) check(t *rapid.T) {
	waiting := m.outbox.items()
	for _, a := range m.asked {
		if a.done {
			continue
		}
		kept := false
		for _, p := range append(waiting[a.module], waiting[EveryModule]...) {
			kept = kept || a.coveredBy(p)
		}
		if !kept {
			t.Fatalf("%+v is lost; what waits is %+v", *a, waiting)
		}
	}
	if len(waiting) > m.outbox.maxModules {
		t.Fatalf("%d modules wait", len(waiting))
	}
	for module, scopes := range waiting {
		if len(scopes) > m.outbox.maxScopes+1 {
			t.Fatalf("%d scopes of %q wait", len(scopes), module)
		}
	}
	if m.outbox.Waiting() != (len(waiting) > 0) {
		t.Fatalf("waiting is %v with %d modules", m.outbox.Waiting(), len(waiting))
	}
	m.checkReleases(t)
}

// However requests and deliveries meet, a request waits until a delivery that began after it has
// arrived.
func TestNoQueuedInvalidationIsLostWhateverArrivesMeanwhile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &outboxModel{outbox: newOutbox()}
		m.outbox.maxScopes, m.outbox.maxModules = 3, 3
		t.Repeat(map[string]func(*rapid.T){
			"ask": m.ask, "askRelease": m.askRelease, "begin": m.begin, "arrive": m.arrive, "": m.check,
		})
	})
}

// At a second overflow a delivery of the first is under way. It is too old for what was queued
// since.
func TestASecondOverflowIsKeptWhenTheDeliveryOfTheFirstArrives(t *testing.T) {
	o := newOutbox()
	overflow := func() {
		for i := range maxModules + 1 {
			o.add(fmt.Sprint(i), Scope{}, registry.ModeHard)
		}
	}
	overflow()
	underWay := o.items()[EveryModule]
	overflow()
	for _, p := range underWay {
		o.remove(p)
	}
	if !o.Covers(registry.Key{Slot: registry.Slot{Module: "7"}, Operation: "get"}) {
		t.Error("what was queued after the delivery began is forgotten")
	}
}
