// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// reasonDataLoss is the reason of events about a store that went back to an older state.
const reasonDataLoss = "DataLoss"

// maxLossEvents bounds the policies that are told of one loss.
const maxLossEvents = 100

// dataLoss is what was done about a store that may have gone back to an older state.
type dataLoss struct {
	// invalidated modules, and how many entries went with each.
	invalidated []registry.Fence
	// replayed modules, on which purges were issued again: those since a time.
	replayed []registry.Fence
	purges   map[types.UID]bool
	since    time.Time
	// overdue modules, which were invalidated because the purges since were too many.
	overdue []registry.Fence
	// uncovered: there should have been a replay, but not all purges were known.
	uncovered bool
}

func (l dataLoss) keys() (keys int64) {
	for _, fence := range l.fenced() {
		keys += fence.Covered.Keys
	}
	return keys
}

// fenced are all modules that were invalidated as a whole.
func (l dataLoss) fenced() []registry.Fence { return slices.Concat(l.invalidated, l.overdue) }

// serious says that something was there that may have been old.
func (l dataLoss) serious() bool { return l.keys() > 0 || len(l.replayed) > 0 }

// message is for whoever wonders why the hit ratio fell.
func (l dataLoss) message(at place) string {
	text := fmt.Sprintf("%s was restarted, failed over or resharded, or is seen for the first time (its run id or replication id is another): "+
		"it may hold again what was invalidated.", at)
	if len(l.replayed) > 0 {
		text += fmt.Sprintf(" %d purges that took effect since %s were issued again on %d modules.",
			len(l.purges), l.since.UTC().Format(time.RFC3339), len(l.replayed))
	}
	if fenced := len(l.fenced()); fenced > 0 {
		text += fmt.Sprintf(" %d modules were invalidated, with %d entries; they are loaded from their source and cached again.",
			fenced, l.keys())
	}
	if len(l.overdue) > 0 {
		text += fmt.Sprintf(" %d of them because there were too many purges since then to issue them again.", len(l.overdue))
	}
	if l.uncovered {
		text += " They were not replayed, though onDataLoss is Replay: it is not certain that every purge since then is known."
	}
	return text
}

// tellLoss says what was done: in the log, in a metric, to the CacheStore, and to the policies that lost entries.
func (m *Monitor) tellLoss(ctx context.Context, policies []v1.CachePolicy, loss dataLoss) {
	if !loss.serious() {
		m.Log.V(1).Info("Fenced modules that held nothing", "modules", len(loss.fenced()))
		return
	}
	message := loss.message(m.place)
	m.Log.Info("The store may have gone back to an older state", "at", m.place.address, "done", message)
	m.publish(func() { m.Metrics.lostData(m.id) })
	told := notice{corev1.EventTypeWarning, reasonDataLoss, actionInvalidate, message}
	if m.id != defaultStore {
		store := &v1.CacheStore{}
		if err := m.Reader.Get(ctx, m.id, store); err == nil {
			told.record(m.Events, store)
		}
	}
	for _, policy := range losers(policies, loss) {
		told.record(m.Events, policy)
	}
}

// losers selects the policies of modules that lost entries.
func losers(policies []v1.CachePolicy, loss dataLoss) []*v1.CachePolicy {
	lost := map[registry.Slot]bool{}
	for _, fence := range loss.fenced() {
		lost[fence.Slot] = fence.Covered.Keys > 0
	}
	var selected []*v1.CachePolicy
	for i := range policies {
		if lost[slotOf(&policies[i])] && len(selected) < maxLossEvents {
			selected = append(selected, &policies[i])
		}
	}
	return selected
}
