// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"errors"
	"fmt"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// nearLag is for how long a near cache may serve what another client invalidated, with some
// time more on a busy machine.
const nearLag = 3 * time.Second

func nearCases() []Case {
	return []Case{optional("near", "an invalidation elsewhere takes effect soon", func(s *scene) {
		s.takesEffectSoon(func(e entry) { s.invalidateElsewhere(e, registry.Scope{}, registry.ModeHard) })
	}), optional("near", "a deletion elsewhere takes effect soon", func(s *scene) {
		s.takesEffectSoon(func(e entry) {
			_, err := s.Stage.Registry.Delete(s.ctx, e.Key)
			s.must(err)
		})
	})}
}

func (s *scene) takesEffectSoon(change func(entry)) {
	s.open(options{near: true})
	e := entryOf(s.slotWith(policy()), "list", "1", "")
	s.load(e, v("old"))
	for range 20 {
		s.hits(e, v("old"))
	}
	change(e)
	s.within(nearLag, func() error {
		if got := s.fetch(e); !got.Loading {
			return fmt.Errorf("the client %s", got)
		}
		return nil
	})
	s.serves(e, v("new"))
	s.hits(e, v("new"))
}

func (s *scene) needsOurServers() {
	if !s.Stage.IsOurs() {
		panic(failure{errLeftOut})
	}
}

func failureCases() []Case {
	const part = "failure"
	return []Case{
		required(part, "Redis hangs: the client loads", func(s *scene) {
			s.needsOurServers()
			e := entryOf(s.module(), "list", "1", "")
			s.load(e, v("payload"))
			s.must(s.Stage.WhileItHangs(s.ctx, slotKey(e.Slot), func() { s.load(e, v("payload")) }))
			s.comesBack(e, "payload")
		}),
		required(part, "Redis refuses fences: the client does without", func(s *scene) {
			s.needsOurServers()
			s.opened = nil // a client that knows nothing of its rights
			s.Stage.WithoutInfo(func() {
				e := entryOf(s.module(), "list", "1", "")
				s.load(e, v("payload"))
				s.hits(e, v("payload"))
			})
			s.opened = nil
		}),
		required(part, "Redis has no memory left: the client loads", func(s *scene) {
			s.needsOurServers()
			e := entryOf(s.module(), "list", "1", "")
			s.must(s.Stage.Configure(s.ctx, "maxmemory", "1"))
			defer func() { s.must(s.Stage.Configure(s.ctx, "maxmemory", "0")) }()
			s.load(e, v("payload"))
			s.isNotStored(e)
			s.load(e, v("payload"))
		}),
	}
}

// comesBack fetches an entry until it is served from the cache, which must have no other value.
func (s *scene) comesBack(e entry, payload string) {
	s.eventually(func() error {
		got := s.fetch(e)
		if got.Loading {
			s.serves(e, v(payload))
			return errors.New("the client does not use the cache")
		}
		if !got.Is(v(payload)) {
			s.fail("fetching %s, the client %s; want it to serve %q, or to load", e, got, payload)
		}
		return nil
	})
}

func restartCases() []Case {
	return []Case{required("restart", "nothing comes back with an old snapshot", func(s *scene) {
		s.needsOurServers()
		slot := s.module()
		read, loading := entryOf(slot, "list", "1", ""), entryOf(slot, "list", "2", "ada")
		s.load(read, v("old"))
		s.loads(loading)
		s.must(s.Stage.GoBack(s.ctx, slotKey(slot), func() {
			s.invalidateElsewhere(read, registry.Scope{}, registry.ModeHard)
		}))
		s.must(s.stored(read, v("old")))
		s.serves(loading, v("old"))
		s.comesBack(read, "new")
		s.comesBack(loading, "new")
	}), required("restart", "nothing comes back for a process that begins later", func(s *scene) {
		s.needsOurServers()
		e := entryOf(s.module(), "list", "1", "")
		s.fillElsewhere(e, v("old"))
		s.must(s.Stage.GoBack(s.ctx, slotKey(e.Slot), func() {
			s.invalidateElsewhere(e, registry.Scope{}, registry.ModeHard)
		}))
		s.must(s.stored(e, v("old")))
		if err := s.driver.Close(); err != nil {
			s.fail("%w", err)
		}
		s.driver = nil
		s.open(options{})
		s.comesBack(e, "new")
	})}
}
