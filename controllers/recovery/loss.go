// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/registry"
)

// reasonDataLoss is the reason of events about a store that went back to an older state.
const reasonDataLoss = "DataLoss"

// maxLossEvents bounds the policies that get an event about one loss.
const maxLossEvents = 100

// dataLoss is what was done about a store that may have gone back to an older state.
type dataLoss struct {
	// invalidated modules, with the entries that each lost.
	invalidated []registry.Fence
	// replayed modules, on which the invalidations since a time were repeated.
	replayed []registry.Fence
	repeated map[types.UID]bool
	since    time.Time
	// skipped modules were invalidated, because there were too many invalidations to repeat.
	skipped []registry.Fence
	// uncovered: a replay was asked for, but not all invalidations were known.
	uncovered bool
}

func (l dataLoss) keys() (keys int64) {
	for _, fence := range l.fenced() {
		keys += fence.Covered.Keys
	}
	return keys
}

// fenced lists all modules that were invalidated as a whole.
func (l dataLoss) fenced() []registry.Fence { return slices.Concat(l.invalidated, l.skipped) }

// affected reports whether there was anything that may have been old.
func (l dataLoss) affected() bool { return l.keys() > 0 || len(l.replayed) > 0 }

// message explains to people why the hit ratio fell.
func (l dataLoss) message(at status.Location) string {
	text := fmt.Sprintf(
		"%s has another run id or replication id: it was restarted, failed over or resharded, or is "+
			"seen for the first time. It may hold again what was invalidated.", at)
	if len(l.replayed) > 0 {
		text += fmt.Sprintf(" %d purges that took effect since %s were issued again on %d modules.",
			len(l.repeated), l.since.UTC().Format(time.RFC3339), len(l.replayed))
	}
	if fenced := len(l.fenced()); fenced > 0 {
		text += fmt.Sprintf(" %d modules were invalidated, with %d entries, which are loaded from "+
			"their source and cached again.", fenced, l.keys())
	}
	if len(l.skipped) > 0 {
		text += fmt.Sprintf(" %d of them because there were too many purges since then to issue them "+
			"again.", len(l.skipped))
	}
	if l.uncovered {
		text += " They were not replayed, though onDataLoss is Replay: it is not certain that every " +
			"purge since then is known."
	}
	return text
}

// report says what was done in the log, in a metric, and in events for the CacheStore and for the
// policies that lost entries.
func (p *pass) report(ctx context.Context, loss dataLoss) {
	if !loss.affected() {
		p.Log.V(1).Info("Fenced modules that held nothing", "modules", len(loss.fenced()))
		return
	}
	p.Log.Info("The store may have gone back to an older state", "at", p.Location.Address,
		"modules", len(loss.invalidated), "entries", loss.keys(), "replayed", len(loss.replayed),
		"skipped", len(loss.skipped))
	p.Metrics.CountLoss()
	event := status.Event{
		Type: corev1.EventTypeWarning, Reason: reasonDataLoss, Action: status.ActionInvalidate,
		Message: loss.message(p.Location),
	}
	if id := p.Referrers.Store; id != resource.DefaultStore {
		store := &v1.CacheStore{}
		if err := p.Referrers.Reader.Get(ctx, id, store); err == nil {
			event.Record(p.Events, store)
		}
	}
	for _, policy := range affectedPolicies(p.policies, loss) {
		event.Record(p.Events, policy)
	}
}

// affectedPolicies selects the policies of modules that lost entries.
func affectedPolicies(policies []v1.CachePolicy, loss dataLoss) []*v1.CachePolicy {
	lost := map[registry.Slot]bool{}
	for _, fence := range loss.fenced() {
		lost[fence.Slot] = fence.Covered.Keys > 0
	}
	var selected []*v1.CachePolicy
	for i := range policies {
		if lost[convert.Slot(&policies[i])] && len(selected) < maxLossEvents {
			selected = append(selected, &policies[i])
		}
	}
	return selected
}
