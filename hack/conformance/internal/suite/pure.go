// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cachewright/cachewright/hack/conformance/internal/driver"
	"github.com/cachewright/cachewright/hack/conformance/internal/vectors"
)

// Cases that need no Redis: what the client computes. They need no client that is open either.

func keyCases(all []vectors.Keys) (cases []Case) {
	for _, vector := range all {
		cases = append(cases, Case{Part: "keys", Name: vector.Name, play: func(s *scene) {
			var got struct{ Keys []driver.Bytes }
			s.ask("keys", driver.Fields{
				"namespace": vector.Namespace, "module": vector.Module, "operation": vector.Operation,
				"user": vector.User, "id": vector.ID,
			}, &got)
			if !slices.Equal(got.Keys, vector.MGet) {
				s.fail("got %q, want %q", got.Keys, vector.MGet)
			}
		}})
	}
	return cases
}

// freshAt is where an entry has its time in ms, of 8 bytes.
const freshAt = 2

// beyond replaces that time by one in the year 2100.
func beyond(value driver.Bytes) driver.Bytes {
	const year2100 = "\x00\x00\x03\xbb\x2c\xc3\xd8\x00"
	return value[:freshAt] + year2100 + value[freshAt+len(year2100):]
}

func entryCases(all []vectors.Entry) (cases []Case) {
	for _, vector := range all {
		cases = append(cases, Case{Part: "entries", Name: vector.Name, play: func(s *scene) {
			past := vector.FreshUntilMs < time.Now().UnixMilli()
			s.decodes(vector, vector.Value, vector.SoftStale || past)
			if vector.Live {
				later := beyond(*vector.Value)
				s.decodes(vector, &later, vector.SoftStale)
			}
		}})
	}
	return cases
}

func (s *scene) decodes(vector vectors.Entry, value *driver.Bytes, stale bool) {
	type decoded struct {
		Live, Negative, Stale bool
		Payload               driver.Bytes
	}
	want := decoded{}
	if vector.Live {
		want = decoded{Live: true, Negative: vector.Negative, Stale: stale, Payload: vector.Payload}
	}
	var got decoded
	s.ask("decode", driver.Fields{
		"value": value, "heads": vector.Heads, "schema": vector.Schema,
	}, &got)
	if got != want {
		s.fail("got %+v, want %+v, of the entry %s", got, want, hexOf(value))
	}
}

func hexOf(value *driver.Bytes) string {
	if value == nil {
		return "that is not there"
	}
	return fmt.Sprintf("%x", string(*value))
}

func idCases(all []vectors.ID) (cases []Case) {
	for _, vector := range all {
		cases = append(cases, Case{Part: "ids", Name: vector.Name, play: func(s *scene) {
			var got struct{ ID driver.Bytes }
			err := s.try("id", driver.Fields{"params": vector.JSON}, &got)
			var failed driver.Failed
			switch {
			case err != nil && !errors.As(err, &failed):
				s.fail("%w", err)
			case vector.ID == "" && err == nil:
				s.fail("got %q for %s; want the client to refuse it", got.ID, vector.JSON)
			case vector.ID != "" && err != nil:
				s.fail("for %s: %w", vector.JSON, err)
			case string(got.ID) != vector.ID:
				s.fail("got %q for %s, want %q", got.ID, vector.JSON, vector.ID)
			}
		}})
	}
	return cases
}

// tokenCases compare tokens. Those who share the load of an entry need it.
func tokenCases(all []vectors.TokenPair) (cases []Case) {
	for _, vector := range all {
		cases = append(cases, Case{Part: "tokens", Name: vector.Name, play: func(s *scene) {
			var got struct{ Same bool }
			tokens := []driver.Bytes{driver.Bytes(vector.One), driver.Bytes(vector.Other)}
			s.ask("same", driver.Fields{"tokens": tokens}, &got)
			if got.Same != vector.Same {
				s.fail("got %v, want %v, of the tokens %q", got.Same, vector.Same, tokens)
			}
		}})
	}
	return cases
}
