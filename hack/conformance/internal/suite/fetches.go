// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"bytes"
	"encoding/json"
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

func show(v value) string {
	if v == nil {
		return "nothing"
	}
	return fmt.Sprintf("%.100q", string(*v))
}

// fetched is the answer to fetch and to loaded.
type fetched struct {
	Loading bool
	Payload json.RawMessage // none: the answer has no result
}

// value returns the payload of an answer that has one.
func (f fetched) value() (value, error) {
	if bytes.Equal(f.Payload, []byte("null")) {
		return nothing, nil
	}
	var payload driver.Bytes
	if err := json.Unmarshal(f.Payload, &payload); err != nil {
		return nil, fmt.Errorf("the answer has neither loading nor a payload in hex, nor null: %w", err)
	}
	return &payload, nil
}

func (f fetched) String() string {
	switch got, err := f.value(); {
	case f.Loading:
		return "called the loader"
	case len(f.Payload) == 0:
		return "answered without a payload"
	case err != nil:
		return err.Error()
	default:
		return "served " + show(got)
	}
}

// is says whether the answer is a payload.
func (f fetched) is(want value) bool {
	got, err := f.value()
	if f.Loading || err != nil || (got == nil) != (want == nil) {
		return false
	}
	return got == nil || *got == *want
}

func (s *scene) fetch(e entry) (answer fetched) {
	s.ask("fetch", e.fields(), &answer)
	return answer
}

// loads fetches an entry that must not be served.
func (s *scene) loads(e entry) {
	if got := s.fetch(e); !got.Loading {
		s.fail("fetching %s, the client %s; want it to call the loader", e, got)
	}
}

// hits fetches an entry that must be served.
func (s *scene) hits(e entry, want value) {
	if got := s.fetch(e); !got.is(want) {
		s.fail("fetching %s, the client %s; want it to serve %s", e, got, show(want))
	}
}

// loaded lets the loader return.
func (s *scene) loaded(payload value) (answer fetched) {
	s.ask("loaded", driver.Fields{"payload": payload}, &answer)
	return answer
}

// serves lets the loader return, and wants the caller to get that.
func (s *scene) serves(e entry, payload value) {
	if got := s.loaded(payload); !got.is(payload) {
		s.fail("the loader of %s returned %s, and the client %s", e, show(payload), got)
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
	switch {
	case !found.Hit:
		return fmt.Errorf("%s is not in Redis; want %s", e, show(want))
	case found.Negative != (want == nil):
		return fmt.Errorf("%s is in Redis, and negative: %v; want %s", e, found.Negative, show(want))
	case want != nil && string(found.Payload) != string(*want):
		return fmt.Errorf("for %s, Redis has %.100q; want %s", e, found.Payload, show(want))
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
