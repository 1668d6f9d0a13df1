// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"errors"
	"fmt"

	"github.com/cachewright/cachewright/hack/conformance/internal/driver"
	"github.com/cachewright/cachewright/registry"
)

// every returns each byte once.
func every() string {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return string(all)
}

// required makes a case that every client must pass.
func required(part, name string, play func(*scene)) Case {
	return Case{Part: part, Name: name, Required: true, play: play}
}

// optional makes a case of a function that a client may lack.
func optional(part, name string, play func(*scene)) Case {
	return Case{Part: part, Name: name, play: play}
}

func readCases() []Case {
	const part = "read"
	return []Case{
		required(part, "a miss loads and fills, then it is a hit", func(s *scene) {
			for _, e := range s.entries() {
				s.load(e, v("payload of "+e.params))
				s.isStored(e, v("payload of "+e.params))
				s.hits(e, v("payload of "+e.params))
			}
		}),
		required(part, "a payload of any bytes", func(s *scene) {
			slot := s.module()
			for i, payload := range []string{"", every(), "\x00", "{\"not\": "} {
				mine := entryOf(slot, "list", fmt.Sprint(i), "")
				s.load(mine, v(payload))
				s.isStored(mine, v(payload))
				theirs := entryOf(slot, "list", fmt.Sprint(-1-i), "")
				s.fillElsewhere(theirs, v(payload))
				s.hits(theirs, v(payload))
			}
		}),
		required(part, "what another client stored is a hit", func(s *scene) {
			for _, e := range s.entries() {
				s.fillElsewhere(e, v("theirs"))
				s.hits(e, v("theirs"))
			}
		}),
		optional(part, "an id of any bytes", (*scene).readsAnyID),
		required(part, "users do not see each other's entries, nor shared ones", func(s *scene) {
			slot := s.module()
			for _, user := range []string{"ada", "eve", ""} {
				s.load(entryOf(slot, "list", "1", user), v("of "+user))
			}
			for _, user := range []string{"ada", "eve", ""} {
				s.hits(entryOf(slot, "list", "1", user), v("of "+user))
			}
		}),
	}
}

func answerCases() []Case {
	const part = "read"
	return []Case{
		required(part, "that the source has nothing is cached", func(s *scene) {
			e := entryOf(s.module(), "list", "1", "")
			s.load(e, nothing)
			s.isStored(e, nothing)
			s.hits(e, nothing)
		}),
		required(part, "that the source has nothing is loaded again by default", func(s *scene) {
			e := entryOf(s.module(), "plain", "1", "")
			s.load(e, nothing)
			s.isNotStored(e)
			s.load(e, v("now there is something"))
			s.hits(e, v("now there is something"))
		}),
		required(part, "what the policy does not cache is loaded each time", func(s *scene) {
			s.loadsTwice(entryOf(s.module(), "off", "1", ""))
			s.loadsTwice(entryOf(s.slotWith(registry.Policy{}), "list", "1", ""))
		}),
		required(part, "what the policy refuses is served to its caller alone", func(s *scene) {
			slot := s.module()
			s.loadsTwice(entryOf(slot, "small", "1", ""))
			s.loadsTwice(entryOf(slot, "private", "1", ""))
			private := entryOf(slot, "private", "1", "ada")
			s.load(private, v("of ada"))
			s.hits(private, v("of ada"))
		}),
		required(part, "a load that fails is not stored", func(s *scene) {
			e := entryOf(s.module(), "list", "1", "")
			s.loads(e)
			s.failsToLoad(e)
			s.isNotStored(e)
			s.load(e, v("after all"))
			s.hits(e, v("after all"))
		}),
	}
}

// entries of a new module, shared and of users. Some names look like parts of keys.
func (s *scene) entries() []entry {
	slot := s.module()
	return []entry{
		entryOf(slot, "list", `1`, ""),
		entryOf(slot, "list", `{"b":"é","a":[1,null,"x"]}`, ""),
		entryOf(slot, "list", `1`, "ada"),
		entryOf(slot, "a:1:b", `"{x}"`, "u:0::{y}"),
		entryOf(slot, "get/by id", `1.5`, "ü"),
	}
}

// readsAnyID is for clients that take ids as they are. Others do not support requests without
// params.
func (s *scene) readsAnyID() {
	slot := s.module()
	for _, id := range []string{"", every(), "a:1:b{}"} {
		e := entryOf(slot, "list", "null", "")
		e.ID = id
		fields := e.fields()
		delete(fields, "params")
		s.loadsAs(e, fields)
		s.serves(e, v("payload"))
		s.isStored(e, v("payload"))
	}
}

func (s *scene) loadsTwice(e entry) {
	for range 2 {
		s.load(e, v("more than 8 bytes"))
		s.isNotStored(e)
	}
}

// failsToLoad lets the loader fail. The caller gets an error.
func (s *scene) failsToLoad(e entry) {
	var got driver.Fetched
	err := s.try("loaded", driver.Fields{"error": "the source is down"}, &got)
	var failed driver.Failed
	if !errors.As(err, &failed) {
		s.fail("the loader of %s failed, and the client %s (%v); want an error", e, got, err)
	}
}
