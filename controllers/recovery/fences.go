// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"cmp"

	"github.com/cachewright/cachewright/registry"
)

// knownFences is what a Fencer knows of the fences of its store. The fences themselves are in the
// store, so a restart of the operator forgets nothing that matters.
type knownFences struct {
	inPlace map[registry.Slot]registry.Incarnation
	// incarnations that the last pass found, and whether they began with no data.
	incarnations map[registry.Incarnation]bool
}

// pendingFences are the slots whose fences have to be read.
type pendingFences struct {
	// new slots are there since the last pass, on a primary that was there before. It began with no
	// data, so nothing of theirs can have come back.
	new []registry.Slot
	// uncovered slots are new, too, but their primary began with data. When that was fenced they
	// were not known, so what it brought back of theirs is still there.
	uncovered []registry.Slot
	// suspect slots are served by an incarnation that was not there before.
	suspect []registry.Slot
}

// pending compares what serves each slot with what served it when it was fenced. At rest this asks
// no server.
func (k *knownFences) pending(slots []registry.Slot, serving []registry.Incarnation) pendingFences {
	var found pendingFences
	for i, slot := range slots {
		was, fenced := k.inPlace[slot]
		empty, known := k.incarnations[serving[i]]
		switch {
		case serving[i] == "" || was == serving[i]:
		case !fenced && known && empty:
			found.new = append(found.new, slot)
		case !fenced && known:
			found.uncovered = append(found.uncovered, slot)
		default:
			found.suspect = append(found.suspect, slot)
		}
	}
	return found
}

// never is the incarnation in which a slot was fenced whose fence never got in place.
const never registry.Incarnation = "never"

// remember replaces what was known by what serves the slots now, without those whose fences are not
// in place. Where it is not known what serves a slot, the former knowledge stays.
func (k *knownFences) remember(
	health registry.Health, slots []registry.Slot, serving []registry.Incarnation,
	broken registry.SlotErrors,
) {
	k.incarnations = make(map[registry.Incarnation]bool, len(health.Primaries))
	for _, primary := range health.Primaries {
		k.incarnations[primary.Incarnation()] = primary.BeganEmpty()
	}
	inPlace := make(map[registry.Slot]registry.Incarnation, len(slots))
	for i, slot := range slots {
		incarnation := cmp.Or(serving[i], k.inPlace[slot])
		if broken[slot] != nil {
			incarnation = cmp.Or(k.inPlace[slot], never)
		}
		if incarnation != "" {
			inPlace[slot] = incarnation
		}
	}
	k.inPlace = inPlace
}
