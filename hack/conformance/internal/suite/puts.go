// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"errors"
	"fmt"
	"time"

	"github.com/cachewright/cachewright/hack/conformance/internal/driver"
	"github.com/cachewright/cachewright/registry"
)

func (s *scene) put(e entry, payload string) {
	s.ask("put", e.with("payload", v(payload)), &none{})
}

func putCases() []Case {
	const part = "put"
	return []Case{
		optional(part, "a write is a hit, whatever was there", func(s *scene) {
			slot := s.module()
			for _, user := range []string{"ada", ""} {
				e := entryOf(slot, "list", "1", user)
				for _, payload := range []string{"first", "second", ""} {
					s.put(e, payload)
					s.isStored(e, v(payload))
					s.hits(e, v(payload))
				}
			}
		}),
		optional(part, "a write fences loads of the entry", func(s *scene) {
			e := entryOf(s.module(), "list", "1", "")
			s.loads(e)
			s.put(e, "written")
			s.serves(e, v("loaded before"))
			s.isStored(e, v("written"))
			s.hits(e, v("written"))
		}),
		optional(part, "readers find the former value or the new one", (*scene).putsWithoutAHole),
		optional(part, "a write of what is held stores nothing", func(s *scene) {
			e, id := entryOf(s.module(), "list", "1", ""), registry.NewHoldID()
			held := registry.HoldScope(registry.Scope{Operation: "list"})
			_, err := s.Stage.Registry.Hold(s.ctx, e.Slot, id, long, held)
			s.must(err)
			s.put(e, "written")
			s.isNotStored(e)
		}),
	}
}

// putsWithoutAHole reads an entry all the time that the client writes it.
func (s *scene) putsWithoutAHole() {
	const writes = 50
	e := entryOf(s.module(), "list", "1", "")
	s.put(e, "0")
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			switch found, err := s.Stage.Registry.Read(s.ctx, e.Key); {
			case err != nil:
				ended <- fmt.Errorf("the runner: %w", err)
				return
			case !found.Hit:
				ended <- errors.New("a reader found nothing while the client wrote")
				return
			}
		}
	}()
	for i := range writes {
		s.put(e, fmt.Sprint(i+1))
	}
	close(stop)
	if err := <-ended; err != nil {
		s.fail("%w", err)
	}
}

func ttlCases() []Case {
	const part = "ttl"
	return []Case{
		optional(part, "a fill may be for less time than the policy says", func(s *scene) {
			e := entryOf(s.module(), "list", "1", "")
			s.loadsFor(e, 10*time.Second)
			s.serves(e, v("short"))
			s.endsWithin(e, 10*time.Second)
		}),
		optional(part, "a write may be for less time than the policy says", func(s *scene) {
			e := entryOf(s.module(), "list", "1", "")
			fields := e.with("payload", v("short"))
			fields["ttlMs"] = 10_000
			s.ask("put", fields, &none{})
			s.endsWithin(e, 10*time.Second)
		}),
		optional(part, "no fill is for longer than the policy says", func(s *scene) {
			e := entryOf(s.module(), "plain", "1", "")
			s.loadsFor(e, time.Hour)
			s.serves(e, v("long"))
			if found, err := s.Stage.Registry.Read(s.ctx, e.Key); err != nil || found.Hit {
				s.must(err)
				s.endsWithin(e, time.Minute)
			}
		}),
	}
}

// loadsFor fetches an entry that must be loaded, and kept for a time.
func (s *scene) loadsFor(e entry, ttl time.Duration) {
	s.loadsAs(e, e.with("ttlMs", ttl.Milliseconds()))
}

// endsWithin wants an entry that ends soon.
func (s *scene) endsWithin(e entry, ttl time.Duration) {
	found, err := s.Stage.Registry.Lease(s.ctx, e.Key)
	s.must(err)
	if !found.Hit || found.Remaining > ttl || found.Remaining < ttl/2 {
		s.fail("Redis has %s: %v, for %s; want it for at most %s", e, found.Hit, found.Remaining, ttl)
	}
}

func waitCases() []Case {
	const part = "wait"
	return []Case{
		optional(part, "the client waits for the load of another process", func(s *scene) {
			e := entryOf(s.module(), "list", "1", "")
			got := s.fetchWhileLocked(e, func(found registry.Lookup) {
				_, err := s.Stage.Registry.Set(s.ctx, e.Key, []byte("theirs"), found.Token)
				s.must(err)
			})
			if got.Loading {
				s.serves(e, v("ours"))
				panic(failure{driver.Unsupported("it loads beside others")})
			}
			if !got.Is(v("theirs")) {
				s.fail("after the load of another process, the client %s; want it to serve that", got)
			}
		}),
		required(part, "a process that dies delays the client for a moment", func(s *scene) {
			e := entryOf(s.module(), "list", "1", "")
			got := s.fetchWhileLocked(e, func(registry.Lookup) {})
			if !got.Loading {
				s.fail("while another process has the load lock, the client %s; want it to load", got)
			}
			s.serves(e, v("ours"))
			s.hits(e, v("ours"))
		}),
	}
}

// fetchWhileLocked fetches an entry that another process is loading, and calls then a bit later.
func (s *scene) fetchWhileLocked(e entry, then func(registry.Lookup)) (got driver.Fetched) {
	found, err := s.Stage.Registry.LeaseLocked(s.ctx, e.Key, long)
	s.must(err)
	err = s.driver.AskWhile(s.ctx, "fetch", e.fields(), &got, func(answered <-chan struct{}) {
		select {
		case <-answered:
		case <-time.After(200 * time.Millisecond):
			then(found)
		}
	})
	if err != nil {
		panic(failure{err})
	}
	return got
}
