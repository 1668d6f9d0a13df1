// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"context"
	"crypto/sha1" //nolint:gosec // shortens a name, guards nothing
	"encoding/hex"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/registry"
)

// repetition is what a replay repeats on some modules.
type repetition struct {
	fences        []registry.Fence
	calls         []registry.Invalidation
	invalidations []types.UID
}

func (r *repetition) add(other repetition) {
	r.fences = append(r.fences, other.fences...)
	r.calls = append(r.calls, other.calls...)
	r.invalidations = append(r.invalidations, other.invalidations...)
}

// repetitionOf lists what has to be repeated on one module.
func repetitionOf(fence registry.Fence, invalidations []effect) repetition {
	again := repetition{fences: []registry.Fence{fence}}
	for _, invalidation := range invalidations {
		before := len(again.calls)
		for i, target := range invalidation.Spec.Targets {
			if invalidation.includes(i) && reaches(invalidation.Namespace, target, fence.Slot) {
				again.calls = append(again.calls, callsAgain(invalidation, i, fence)...)
			}
		}
		if len(again.calls) > before {
			again.invalidations = append(again.invalidations, invalidation.UID)
		}
	}
	return again
}

// callsAgain returns the calls that repeat one target of an invalidation on a module. What is not
// recorded yet is first called under its own request id. A later try of its reconcile then gets the
// answer to that call, with the count.
func callsAgain(invalidation effect, index int, fence registry.Fence) []registry.Invalidation {
	call := registry.Invalidation{
		Slot: fence.Slot, Scope: convert.Scope(invalidation.Spec.Targets[index]),
		Mode:      convert.Mode(invalidation.Spec),
		RequestID: replayRequest(fence, invalidation.CacheInvalidation, index),
	}
	if !invalidation.underWay {
		return []registry.Invalidation{call}
	}
	own := call
	own.RequestID = resource.RequestID(invalidation.CacheInvalidation, index)
	return []registry.Invalidation{own, call}
}

// repeat makes the calls, in few round trips, and puts the fences of those modules in place where
// all calls took effect. The others are broken, and hold up none.
func (p *pass) repeat(ctx context.Context, again repetition, loss *dataLoss) error {
	if len(again.fences) == 0 {
		return nil
	}
	for i, result := range p.Store.InvalidateMany(ctx, again.calls) {
		// What the library refuses it refused the first time, too.
		if result.Err != nil && !errors.Is(result.Err, registry.ErrRejected) {
			p.broken[again.calls[i].Slot] = result.Err
		}
	}
	done := without(again.fences, p.broken)
	if err := p.broken.Take(p.Store.MarkFenced(ctx, done)); err != nil {
		return err
	}
	loss.replayed = append(loss.replayed, without(done, p.broken)...)
	for _, invalidation := range again.invalidations {
		loss.repeated[invalidation] = true
	}
	return nil
}

func reaches(namespace string, target v1.InvalidationTarget, slot registry.Slot) bool {
	return slot.Namespace == namespace && (target.Module == "" || target.Module == slot.Module)
}

// replayRequest is the request id of a repetition. It differs from that of the invalidation, whose
// answer the old state may remember, and is the same in each try of one replay.
func replayRequest(fence registry.Fence, invalidation *v1.CacheInvalidation, index int) string {
	name := fmt.Appendf(nil, "%s %s %d", fence.Incarnation, invalidation.UID, index)
	sum := sha1.Sum(name) //nolint:gosec // see the import
	return "replay/" + hex.EncodeToString(sum[:])
}
