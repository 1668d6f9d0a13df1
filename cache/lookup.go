// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import "github.com/cachewright/cachewright/registry"

// errorOf returns the error that a caller gets for a hit.
func errorOf(hit registry.Lookup) error {
	if hit.Negative {
		return ErrNotFound
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
		return OutcomeStale
	}
	return OutcomeHit
}

// outcomeOfMiss returns the Outcome where Redis gave no entry. Without a token it gave no answer.
func outcomeOfMiss(miss registry.Lookup) Outcome {
	switch {
	case miss.Cacheable:
		return OutcomeMiss
	case miss.Token != "":
		return OutcomeBypass
	default:
		return OutcomeError
	}
}
