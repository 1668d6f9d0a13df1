// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"fmt"

	"github.com/cachewright/cachewright/hack/conformance/internal/driver"
)

// value is a payload; nil: the source has nothing.
type value = *driver.Bytes

func v(payload string) value {
	raw := driver.Bytes(payload)
	return &raw
}

// nothing is what the source has of what it has not.
var nothing value

func (s *scene) fetch(e entry) (answer driver.Fetched) {
	s.ask("fetch", e.fields(), &answer)
	return answer
}

// loads fetches an entry that must not be served.
func (s *scene) loads(e entry) { s.loadsAs(e, e.fields()) }

// loadsAs does what loads does, with other fields.
func (s *scene) loadsAs(e entry, fields driver.Fields) {
	var got driver.Fetched
	s.ask("fetch", fields, &got)
	if !got.Loading {
		s.fail("fetching %s, the client %s; want it to call the loader", e, got)
	}
}

// hits fetches an entry that must be served.
func (s *scene) hits(e entry, want value) {
	if got := s.fetch(e); !got.Is(want) {
		s.fail("fetching %s, the client %s; want it to serve %s", e, got, driver.Show(want))
	}
}

// loaded lets the loader return.
func (s *scene) loaded(payload value) (answer driver.Fetched) {
	s.ask("loaded", driver.Fields{"payload": payload}, &answer)
	return answer
}

// serves lets the loader return, and wants the caller to get that.
func (s *scene) serves(e entry, payload value) {
	if got := s.loaded(payload); !got.Is(payload) {
		s.fail("the loader of %s returned %s, and the client %s", e, driver.Show(payload), got)
	}
}

// load fetches an entry that must not be served, and loads it.
func (s *scene) load(e entry, payload value) {
	s.loads(e)
	s.serves(e, payload)
}

// isStored wants an entry to be in Redis.
func (s *scene) isStored(e entry, want value) {
	if err := s.stored(e, want); err != nil {
		s.fail("%w", err)
	}
}

func (s *scene) stored(e entry, want value) error {
	found, err := s.Stage.Registry.Read(s.ctx, e.Key)
	s.must(err)
	isSame := found.Negative == (want == nil)
	if want != nil {
		isSame = isSame && string(found.Payload) == string(*want)
	}
	switch {
	case !found.Hit:
		return fmt.Errorf("%s is not in Redis; want %s", e, driver.Show(want))
	case !isSame:
		return fmt.Errorf("for %s, Redis has %.100q, negative: %v; want %s",
			e, found.Payload, found.Negative, driver.Show(want))
	}
	return nil
}

// isNotStored wants an entry not to be in Redis.
func (s *scene) isNotStored(e entry) {
	found, err := s.Stage.Registry.Read(s.ctx, e.Key)
	s.must(err)
	if found.Hit {
		s.fail("for %s, Redis has %.100q; want nothing", e, found.Payload)
	}
}

// fillElsewhere stores an entry as another client does.
func (s *scene) fillElsewhere(e entry, payload value) {
	found, err := s.Stage.Registry.Lease(s.ctx, e.Key)
	s.must(err)
	_, err = s.Stage.Registry.Set(s.ctx, e.Key, []byte(*payload), found.Token)
	s.must(err)
	s.must(s.stored(e, payload))
}
