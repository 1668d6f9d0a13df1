// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"hash/maphash"
	"slices"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/registry"
)

const (
	// verifyingPasses is in how many passes each policy that was verified is verified again, at most:
	// a minute, with five seconds between two.
	verifyingPasses = 12
	// verifiedAtLeast is how many policies a pass may verify without being noticed.
	verifiedAtLeast = 100
)

// verified knows which policies a store had as they are wanted, so that a pass need only ask
// whether they are still there. Verifying ten thousand each time would take Redis a twentieth of
// its time. What somebody edited is found when it is the policy's turn to be verified again.
type verified struct {
	seed   maphash.Seed
	passes uint64
	data   []registry.Incarnation
	hashes map[registry.Slot]string
}

// begin begins a pass over the data that serves now. Other data may hold an older policy, so
// nothing is known of it. Nor is anything known of a server that does not name its data.
func (v *verified) begin(health registry.Health) {
	var data []registry.Incarnation
	for _, primary := range health.Primaries {
		data = append(data, primary.Incarnation())
	}
	if v.hashes == nil || !slices.Equal(data, v.data) || slices.Contains(data, "") {
		v.seed, v.hashes = maphash.MakeSeed(), map[registry.Slot]string{}
	}
	v.data = data
	v.passes++
}

// split parts the policies into those to verify in this pass, and the others. It forgets all that
// are not among them.
func (v *verified) split(policies []*v1.CachePolicy) (due, others []*v1.CachePolicy) {
	turns := uint64(min(max(len(policies)/verifiedAtLeast, 1), verifyingPasses))
	hashes := make(map[registry.Slot]string, len(v.hashes))
	for _, policy := range policies {
		slot, wanted := convert.Slot(policy), policy.Status.AppliedHash
		isTurn := maphash.Comparable(v.seed, slot)%turns == v.passes%turns
		switch known, found := v.hashes[slot]; {
		case !found || known != wanted || isTurn:
			due = append(due, policy)
		default:
			others = append(others, policy)
		}
		if known, found := v.hashes[slot]; found {
			hashes[slot] = known
		}
	}
	v.hashes = hashes
	return due, others
}

// forget notes that the store lost a policy: what takes its place has to be verified.
func (v *verified) forget(policy *v1.CachePolicy) { delete(v.hashes, convert.Slot(policy)) }

// note notes whether the store has a policy as it is wanted. Who edits one may edit more: where one
// differs that did not before, the next pass verifies all.
func (v *verified) note(policy *v1.CachePolicy, isInPlace bool) {
	slot, wanted := convert.Slot(policy), policy.Status.AppliedHash
	switch {
	case isInPlace:
		v.hashes[slot] = wanted
	case v.hashes[slot] == wanted:
		clear(v.hashes)
	}
}
