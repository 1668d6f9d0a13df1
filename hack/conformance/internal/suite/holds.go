// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"time"

	"github.com/cachewright/cachewright/hack/conformance/internal/driver"
	"github.com/cachewright/cachewright/registry"
)

// long is longer than any case takes.
const long = time.Minute

func heldCases() (cases []Case) {
	e := func(slot registry.Slot) entry { return entryOf(slot, "list", "1", "ada") }
	for _, held := range []struct {
		name   string
		target registry.HoldTarget
	}{
		{"the module", registry.HoldScope(registry.Scope{})},
		{"the operation", registry.HoldScope(registry.Scope{Operation: "list"})},
		{"the user", registry.HoldScope(registry.Scope{User: "ada"})},
		{"the entry", registry.HoldEntry(e(registry.Slot{}).Key)},
	} {
		cases = append(cases, required("held", held.name+" is held by another client", func(s *scene) {
			e, id := e(s.module()), registry.NewHoldID()
			s.load(e, v("before"))
			_, err := s.Stage.Registry.Hold(s.ctx, e.Slot, id, long, held.target)
			s.must(err)
			for range 2 {
				s.load(e, v("meanwhile"))
				s.isNotStored(e)
			}
			_, err = s.Stage.Registry.Release(s.ctx, e.Slot, id, held.target)
			s.must(err)
			s.load(e, v("after"))
			s.hits(e, v("after"))
		}))
	}
	return cases
}

func holdCases() []Case {
	const part = "hold"
	return []Case{
		optional(part, "what the client holds is neither served nor stored", func(s *scene) {
			slot := s.module()
			for _, thing := range []driver.Fields{
				{},
				{"operation": driver.Bytes("list")},
				{"user": driver.Bytes("ada")},
				entryOf(slot, "list", "1", "ada").fields(),
			} {
				s.holds(slot, thing)
			}
		}),
		optional(part, "a load from before the hold is not stored after it", func(s *scene) {
			slot := s.module()
			e := entryOf(slot, "list", "1", "ada")
			s.loads(e)
			s.hold(slot, driver.Fields{"user": driver.Bytes("ada")})
			s.ask("release", nil, &none{})
			s.isFenced(e)
		}),
	}
}

func (s *scene) hold(slot registry.Slot, things ...driver.Fields) {
	s.ask("hold", driver.Fields{
		"module": slot.Module, "ms": long.Milliseconds(), "things": things,
	}, &none{})
}

func (s *scene) holds(slot registry.Slot, thing driver.Fields) {
	e := entryOf(slot, "list", "1", "ada")
	s.invalidateElsewhere(e, registry.Scope{}, registry.ModeHard)
	s.fillElsewhere(e, v("before"))
	s.hold(slot, thing)
	s.isNotStored(e)
	found, err := s.Stage.Registry.Lease(s.ctx, e.Key)
	s.must(err)
	if found.Held < long/2 {
		s.fail("the client held %v for a minute; Redis says that %s is held for %s", thing, e, found.Held)
	}
	s.ask("release", nil, &none{})
	s.fillElsewhere(e, v("after"))
}
