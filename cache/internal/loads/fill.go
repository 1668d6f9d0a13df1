// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package loads

import (
	"context"
	"fmt"

	"github.com/cachewright/cachewright/cache/internal/codec"
	"github.com/cachewright/cachewright/registry"
)

// fill encodes and stores a loaded value, even if all callers have left. The payload is nil if the
// value cannot be encoded. The outcome is 0 if Redis did not answer or lacks an invalidation.
func (s *Loads) fill(
	ctx context.Context, key registry.Key, t ticket, value any,
) ([]byte, registry.Outcome) {
	payload, err := codec.Encode(s.config.Codec, value)
	if err != nil {
		s.config.Failures.Add(key.Module, key.Operation, err)
		return nil, 0
	}
	if s.config.Outbox.Covers(key) {
		return payload, 0
	}
	// The gateway reports failures.
	outcome, _ := s.config.Gateway.Set(context.WithoutCancel(ctx), t.left, key, payload, t.token)
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
	outcome, _ := s.config.Gateway.SetNegative(context.WithoutCancel(ctx), t.left, key, t.token)
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
