// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"fmt"

	"github.com/cachewright/cachewright/hack/conformance/internal/driver"
	"github.com/cachewright/cachewright/registry"
)

// scopes cover the entries of operation list and user ada.
var scopes = []struct {
	name  string
	scope registry.Scope
}{
	{"the module", registry.Scope{}},
	{"the operation", registry.Scope{Operation: "list"}},
	{"the user", registry.Scope{User: "ada"}},
	{"the operation of the user", registry.Scope{Operation: "list", User: "ada"}},
}

func fenceCases() (cases []Case) {
	const part = "fence"
	for _, covered := range scopes {
		cases = append(cases, required(part,
			"a load under way when another client invalidates "+covered.name, func(s *scene) {
				e := entryOf(s.module(), "list", "1", "ada")
				s.loads(e)
				s.invalidateElsewhere(e, covered.scope, registry.ModeHard)
				s.isFenced(e)
			}))
	}
	return append(cases,
		required(part, "a load under way when another client deletes the entry", func(s *scene) {
			e := entryOf(s.module(), "list", "1", "")
			s.loads(e)
			_, err := s.Stage.Registry.Delete(s.ctx, e.Key)
			s.must(err)
			s.isFenced(e)
		}),
		required(part, "a load under way when the client itself deletes the entry", func(s *scene) {
			e := entryOf(s.module(), "list", "1", "")
			s.loads(e)
			s.ask("delete", e.fields(), &none{})
			s.isFenced(e)
		}),
		required(part, "a load under way when another entry is deleted is stored", func(s *scene) {
			slot := s.module()
			e := entryOf(slot, "list", "1", "")
			s.loads(e)
			_, err := s.Stage.Registry.Delete(s.ctx, entryOf(slot, "list", "2", "").Key)
			s.must(err)
			s.serves(e, v("payload"))
			s.hits(e, v("payload"))
		}))
}

// isFenced ends a load that began before a change: the caller gets what was loaded, and nobody
// else.
func (s *scene) isFenced(e entry) {
	s.serves(e, v("before the change"))
	s.isNotStored(e)
	s.load(e, v("after the change"))
	s.hits(e, v("after the change"))
}

func (s *scene) invalidateElsewhere(e entry, scope registry.Scope, mode registry.Mode) {
	_, err := s.Stage.Registry.Invalidate(s.ctx, e.Slot, scope, mode, "")
	s.must(err)
}

func invalidationCases() (cases []Case) {
	const part = "invalidate"
	for _, covered := range scopes {
		cases = append(cases, required(part, covered.name, func(s *scene) {
			s.invalidates(covered.scope)
		}))
	}
	return append(cases,
		required(part, "one entry", func(s *scene) {
			slot := s.module()
			e, other := entryOf(slot, "list", "1", "ada"), entryOf(slot, "list", "2", "ada")
			s.fillElsewhere(e, v("payload"))
			s.fillElsewhere(other, v("payload"))
			s.ask("delete", e.fields(), &none{})
			s.isNotStored(e)
			s.isStored(other, v("payload"))
		}),
		optional(part, "softly", func(s *scene) {
			e := entryOf(s.module(), "list", "1", "ada")
			s.fillElsewhere(e, v("payload"))
			s.invalidate(e, registry.Scope{Operation: "list"}, true)
			if found, err := s.Stage.Registry.Read(s.ctx, e.Key); err != nil || !found.Hit || !found.Stale {
				s.fail("after a soft invalidation, Redis has %+v (%v); want a stale entry", found, err)
			}
		}))
}

// invalidates has the client invalidate a scope, which must take what it covers, and no more.
func (s *scene) invalidates(scope registry.Scope) {
	slot := s.module()
	var entries []entry
	for _, operation := range []string{"list", "other"} {
		for _, user := range []string{"ada", "eve", ""} {
			e := entryOf(slot, operation, "1", user)
			s.fillElsewhere(e, v("payload"))
			s.hits(e, v("payload"))
			entries = append(entries, e)
		}
	}
	s.invalidate(entries[0], scope, false)
	for _, e := range entries {
		covered := (scope.Operation == "" || scope.Operation == e.Operation) &&
			(scope.User == "" || scope.User == e.User)
		if covered {
			s.isNotStored(e)
			s.load(e, v("new"))
		} else {
			s.isStored(e, v("payload"))
			s.hits(e, v("payload"))
		}
	}
}

func (s *scene) invalidate(e entry, scope registry.Scope, soft bool) {
	s.ask("invalidate", driver.Fields{
		"module": e.Module, "operation": driver.Bytes(scope.Operation), "user": driver.Bytes(scope.User),
		"soft": soft,
	}, &none{})
}

// turnsStale has another client invalidate an entry softly.
func (s *scene) turnsStale(e entry) {
	s.fillElsewhere(e, v("old"))
	s.invalidateElsewhere(e, registry.Scope{Operation: e.Operation}, registry.ModeSoft)
}

func staleCases() []Case {
	const part = "stale"
	return []Case{
		required(part, "a stale entry is loaded, and replaced", func(s *scene) {
			e := entryOf(s.module(), "list", "1", "")
			s.turnsStale(e)
			got := s.fetch(e)
			if !got.Loading && !got.Is(v("old")) {
				s.fail("of a stale entry, the client %s; want it to serve or to load it", got)
			}
			s.loaded(v("new")) // by the caller, or in the background
			s.eventually(func() error { return s.stored(e, v("new")) })
			s.hits(e, v("new"))
		}),
		required(part, "a stale entry that another client loads is left to it", func(s *scene) {
			e := entryOf(s.module(), "list", "1", "")
			s.turnsStale(e)
			found, err := s.Stage.Registry.Lease(s.ctx, e.Key)
			s.must(err)
			if found.Token == "" {
				s.fail("the runner: it got no token for a stale entry")
			}
			switch got := s.fetch(e); {
			case got.Loading:
				s.serves(e, v("loaded without a token"))
			case !got.Is(v("old")):
				s.fail("of a stale entry, the client %s; want it to serve or to load it", got)
			}
			s.isStored(e, v("old"))
			_, err = s.Stage.Registry.Set(s.ctx, e.Key, []byte("theirs"), found.Token)
			s.must(err)
			s.hits(e, v("theirs"))
		}),
		required(part, "a load of a stale entry is fenced, too", func(s *scene) {
			e := entryOf(s.module(), "list", "1", "")
			s.turnsStale(e)
			if got := s.fetch(e); !got.Loading {
				s.ask("waiting", nil, &none{}) // until a load in the background has begun
			}
			s.invalidateElsewhere(e, registry.Scope{}, registry.ModeHard)
			s.loaded(v("before the change"))
			s.load(e, v("after the change"))
			s.hits(e, v("after the change"))
		}),
	}
}

func schemaCases() []Case {
	return []Case{optional("schema", "entries of another schema are misses", func(s *scene) {
		for i, schema := range []string{"", "v1", "v22"} {
			s.open(options{schema: "v2"})
			e := entryOf(s.slotWith(policy()), "list", fmt.Sprint(i), "")
			theirs := e
			theirs.Schema = schema
			s.fillElsewhere(theirs, v("of another schema"))
			s.load(e, v("of ours"))
			s.isNotStored(theirs)
			ours := e
			ours.Schema = "v2"
			s.isStored(ours, v("of ours"))
			s.hits(e, v("of ours"))
			s.ask("delete", e.fields(), &none{})
			s.load(e, nothing)
			s.isStored(ours, nothing)
			s.hits(e, nothing)
		}
	})}
}
