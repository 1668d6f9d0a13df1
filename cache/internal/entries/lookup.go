// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package entries

import (
	"github.com/cachewright/cachewright/cache/internal/source"
	"github.com/cachewright/cachewright/registry"
)

// Outcome says where a value came from. It is a cache.Outcome.
type Outcome string

// The outcomes of package cache.
const (
	Hit     Outcome = "hit"
	NearHit Outcome = "near_hit"
	Stale   Outcome = "stale"
	Miss    Outcome = "miss"
	Bypass  Outcome = "bypass"
	Held    Outcome = "held"
	Error   Outcome = "error"
)

// errorOf returns the error that a caller gets for a hit.
func errorOf(hit registry.Lookup) error {
	if hit.Negative {
		return source.ErrNotFound
	}
	return nil
}

func hitCounters(hit registry.Lookup) registry.Counters {
	if hit.Stale {
		return registry.Counters{Stale: 1}
	}
	return registry.Counters{Hits: 1}
}

// outcomeOfHit returns the Outcome for an entry in Redis.
func outcomeOfHit(hit registry.Lookup) Outcome {
	if hit.Stale {
		return Stale
	}
	return Hit
}

// outcomeOfMiss returns the Outcome where Redis gave no entry. Without a token it gave no answer.
func outcomeOfMiss(miss registry.Lookup) Outcome {
	switch {
	case miss.Cacheable:
		return Miss
	case miss.Held > 0:
		return Held
	case miss.Token != "":
		return Bypass
	default:
		return Error
	}
}
