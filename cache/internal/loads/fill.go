// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package loads

import (
	"context"
	"fmt"
	"reflect"

	"github.com/cachewright/cachewright/cache/internal/codec"
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

// fill encodes and stores a loaded value, even if all callers have left. The payload is nil if the
// value cannot be encoded. The outcome is 0 if Redis did not answer or lacks an invalidation.
func (s *Loads) fill(
	ctx context.Context, key registry.Key, t ticket, value any,
) ([]byte, registry.Outcome) {
	payload, err := s.Encode(key, value, t.as)
	if err != nil {
		return nil, 0
	}
	if s.config.Outbox.Covers(key) {
		return payload, 0
	}
	outcome := s.store(ctx, key, t, payload, registry.FillOptions{})
	if outcome == registry.Refused {
		s.config.Failures.Add(key.Module, key.Operation, Refusal(key, len(payload)))
	}
	return payload, outcome
}

// fillNegative stores that the source has nothing, if the policy has a negativeTTL.
func (s *Loads) fillNegative(ctx context.Context, key registry.Key, t ticket) registry.Outcome {
	if s.config.Outbox.Covers(key) {
		return 0
	}
	return s.store(ctx, key, t, nil, registry.FillOptions{Negative: true})
}

// store stores a payload, for no longer than the loader said. The gateway reports failures.
func (s *Loads) store(
	ctx context.Context, key registry.Key, t ticket, payload []byte, options registry.FillOptions,
) registry.Outcome {
	ttl, forbids := t.limit.Get()
	if forbids {
		return 0
	}
	options.TTL = ttl
	outcome, _ := s.config.Gateway.Fill(
		context.WithoutCancel(ctx), t.remaining, key, payload, t.token, options)
	return outcome
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
