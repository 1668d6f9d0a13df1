// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package policies

import (
	"context"
	"errors"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/library"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

// presenceBatch is the number of policies in one command or pipeline, during which other clients
// wait: a fifth of a millisecond.
const presenceBatch = 500

// Present says of each slot whether it has a policy, whatever that is; nil: all failed for the same
// reason.
func (p *Policies) Present(ctx context.Context, slots []keyspace.Slot) ([]bool, error) {
	present, broken := make([]bool, 0, len(slots)), sloterr.Errors{}
	for batch := range slices.Chunk(slots, presenceBatch) {
		found, err := p.presentIn(ctx, batch)
		if err := broken.Take(err); err != nil {
			return nil, err
		}
		present = append(present, found...)
	}
	return present, broken.OrNil()
}

// presentIn asks for all policies in one command, and for each only where that does not answer. One
// may be missing, or an ACL forbid a namespace. In a cluster no command may name several slots.
func (p *Policies) presentIn(ctx context.Context, slots []keyspace.Slot) ([]bool, error) {
	if _, isCluster := p.library.Client().(*redis.ClusterClient); isCluster {
		return p.presentEach(ctx, slots)
	}
	keys := make([]string, len(slots))
	for i, slot := range slots {
		keys[i] = keyspace.PolicyKey(slot)
	}
	count, err := p.library.Client().Exists(ctx, keys...).Result()
	if err != nil {
		err = fault.Classify("looking for policies", err)
	}
	switch {
	case err == nil && count == int64(len(slots)):
		return slices.Repeat([]bool{true}, len(slots)), nil
	case err == nil, errors.Is(err, fault.ErrForbidden):
		return p.presentEach(ctx, slots)
	default:
		return nil, err
	}
}

func (p *Policies) presentEach(ctx context.Context, slots []keyspace.Slot) ([]bool, error) {
	const what = "looking for the policy"
	present := make([]bool, len(slots))
	broken, err := library.Pipelined(ctx, p.library.Client(), what, slots,
		func(pipe redis.Pipeliner, slot keyspace.Slot) *redis.IntCmd {
			return pipe.Exists(ctx, keyspace.PolicyKey(slot))
		},
		func(i int, reply *redis.IntCmd) error {
			present[i] = reply.Val() == 1
			return sloterr.Failure(what, slots[i], reply.Err())
		})
	if err != nil {
		return nil, err
	}
	return present, sloterr.OfAll(broken, len(slots))
}
