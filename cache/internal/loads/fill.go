// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package loads

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/cachewright/cachewright/cache/internal/codec"
	"github.com/cachewright/cachewright/cache/internal/source"
	"github.com/cachewright/cachewright/registry"
)

// Encode encodes a value of an entry, and reports why it cannot be stored. Readers decode it into a
// type, nil if that is not known. That values do not survive is reported once.
func (s *Loads) Encode(key registry.Key, value any, as reflect.Type) ([]byte, error) {
	payload, err := s.config.Encoder.Encode(key.Module, key.Operation, value, as)
	switch {
	case codec.Known(err):
		s.config.Failures.Count(key.Module, key.Operation)
	case err != nil:
		s.config.Failures.Add(key.Module, key.Operation, err)
	}
	return payload, err
}

// encode encodes what a job has loaded. The payload is nil if that cannot be stored.
func (s *Loads) encode(j *job) {
	payload, err := s.Encode(j.miss.Key, j.result.value, j.as)
	if err == nil {
		j.result.payload = payload
	}
}

// fill stores what was loaded, even if all callers have left, and says who may have it. It also
// stores that the source has nothing, if the policy has a negativeTTL.
func (s *Loads) fill(ctx context.Context, jobs []*job) {
	var fills []registry.Fill
	var of []*job
	remaining := time.Duration(math.MaxInt64)
	for _, j := range jobs {
		if fill, ok := s.fillOf(j); ok {
			fills, of = append(fills, fill), append(of, j)
			remaining = min(remaining, j.miss.Remaining)
		}
	}
	// The gateway reports failures.
	for i, filled := range s.config.Gateway.FillMany(context.WithoutCancel(ctx), remaining, fills) {
		of[i].outcome = filled.Outcome
	}
	for _, j := range jobs {
		s.filled(j)
	}
}

// fillOf returns what to store of a job, if anything. Nothing is stored that lacks an invalidation.
func (s *Loads) fillOf(j *job) (fill registry.Fill, ok bool) {
	negative := errors.Is(j.err, source.ErrNotFound)
	switch {
	case !j.fills || j.err != nil && !negative:
		return fill, false
	case !negative:
		s.encode(j)
		if j.result.payload == nil {
			return fill, false
		}
	}
	ttl, forbids := j.limit.Get()
	fill = registry.Fill{
		Key: j.miss.Key, Payload: j.result.payload, Token: j.lease.Token,
		Options: registry.FillOptions{Negative: negative, TTL: ttl},
	}
	return fill, !forbids && !s.config.Outbox.Covers(j.miss.Key)
}

// filled says what came of a job whose fill, if it had one, has ended.
func (s *Loads) filled(j *job) {
	key := j.miss.Key
	switch {
	case errors.Is(j.err, source.ErrNotFound):
		j.result.storedNegative = passed(j.outcome)
		return
	case j.outcome == registry.Refused:
		s.config.Failures.Add(key.Module, key.Operation, Refusal(key, len(j.result.payload)))
	}
	// A value without a user is shared only if the policy accepted it. Otherwise it may have been
	// refused because each user has entries of their own, and callers must not get each other's.
	j.result.shared = passed(j.outcome) || key.User != "" && j.result.payload != nil
}

// passed reports whether the policy accepted a fill. A fill that an invalidation fenced is one,
// too.
func passed(outcome registry.Outcome) bool {
	return outcome == registry.Stored || outcome == registry.Fenced
}

// Refusal says why the policy refused an entry.
func Refusal(key registry.Key, size int) error {
	reason := fmt.Sprintf("its %d bytes are more than maxEntryBytes allows", size)
	if key.User == "" {
		reason = "it has no user although the operation's scope is User, or " + reason
	}
	return fmt.Errorf("%w: an entry of %s, operation %s: %s", ErrRefused, key.Slot, key.Operation,
		reason)
}
