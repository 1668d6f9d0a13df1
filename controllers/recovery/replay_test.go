// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/metrics"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/registry"
)

// replayedStore came back with an older state. It counts what is asked of it.
type replayedStore struct {
	*controllertest.ScriptedStore

	beat    time.Time
	batches int
	calls   map[registry.Invalidation]int
	marked  map[registry.Slot]bool
	fenced  map[registry.Slot]bool
	broken  map[registry.Slot]bool
	asked   func() // before each batch
}

func (s *replayedStore) LastHeartbeat(context.Context, registry.Slot) (time.Time, error) {
	return s.beat, nil
}

func (s *replayedStore) PolicyHashes(_ context.Context, slots []registry.Slot) ([]string, error) {
	hashes := make([]string, len(slots))
	for i := range hashes {
		hashes[i] = "h"
	}
	return hashes, nil
}

func (s *replayedStore) InvalidateMany(_ context.Context, calls []registry.Invalidation) []registry.InvalidationResult {
	s.asked()
	s.batches++
	results := make([]registry.InvalidationResult, len(calls))
	for i, call := range calls {
		s.calls[call]++
		if s.broken[call.Slot] {
			results[i].Err = controllertest.ErrLost
		}
	}
	return results
}

func (s *replayedStore) MarkFenced(_ context.Context, fences []registry.Fence) error {
	for _, fence := range fences {
		s.marked[fence.Slot] = true
	}
	return nil
}

func (s *replayedStore) Fence(_ context.Context, fences []registry.Fence) error {
	for _, fence := range fences {
		s.fenced[fence.Slot] = true
	}
	return nil
}

// targets of each purge of replayOf.
const targets = 100

// replayOf is a loss of a store with so many modules, after purges of so many users that took
// effect since.
func replayOf(t *testing.T, modules, users int) (fencer *Fencer, store *replayedStore, policies []v1.CachePolicy, open []registry.Fence) {
	t.Helper()
	store = &replayedStore{
		ScriptedStore: &controllertest.ScriptedStore{}, calls: map[registry.Invalidation]int{}, marked: map[registry.Slot]bool{},
		fenced: map[registry.Slot]bool{}, broken: map[registry.Slot]bool{}, asked: func() {},
	}
	now := time.Now()
	fencer = &Fencer{FencerConfig: FencerConfig{
		Journal: NewJournal(), Metrics: metrics.New(stats.NewSnapshot()).ForStore(resource.DefaultStore), Events: &controllertest.EventLog{},
		Clock: clocktesting.NewFakeClock(now), Log: logr.Discard(), ReplayMargin: DefaultReplayMargin,
	}}
	fencer.Journal.Start(now.Add(-time.Hour))
	store.beat = now.Add(-time.Minute)
	var recorded []client.Object
	for i := range users / targets {
		invalidation := tookEffectAt(strconv.Itoa(i), now)
		invalidation.Namespace, invalidation.UID, invalidation.Spec.Targets = "shop", types.UID(strconv.Itoa(i)), nil
		for j := range targets {
			invalidation.Spec.Targets = append(invalidation.Spec.Targets, v1.InvalidationTarget{UserID: fmt.Sprint(i, "/", j)})
		}
		recorded = append(recorded, invalidation)
	}
	fencer.Referrers.Reader = controllertest.FakeCache(t, recorded...)
	for i := range modules {
		policy := controllertest.UsersPolicy()
		policy.Namespace, policy.Name, policy.Spec.Module, policy.Status.AppliedHash = "shop", fmt.Sprint("m", i), fmt.Sprint("m", i), "h"
		policies = append(policies, *policy)
		open = append(open, registry.Fence{Slot: convert.Slot(policy), Incarnation: "a"})
	}
	return fencer, store, policies, open
}

// replay replays on modules whose fences are open.
func replay(t *testing.T, fencer *Fencer, store Store, policies []v1.CachePolicy, open []registry.Fence) error {
	t.Helper()
	p := &pass{Fencer: fencer, Target: Target{Store: store}, policies: policies, broken: registry.SlotErrors{}}
	if err := p.replay(t.Context(), open); err != nil {
		return err
	}
	return p.broken.OrNil()
}

func TestAReplayTakesFewRoundTrips(t *testing.T) {
	const modules, users = 50, 200
	fencer, store, policies, open := replayOf(t, modules, users)
	if err := replay(t, fencer, store, policies, open); err != nil {
		t.Fatal(err)
	}
	if len(store.calls) != modules*users || len(store.marked) != modules || len(store.fenced) > 0 {
		t.Errorf("%d purges were issued again, %d modules marked, %d invalidated", len(store.calls), len(store.marked), len(store.fenced))
	}
	if store.batches > modules*users/replayBatch {
		t.Errorf("purges of %d users on %d modules in %d batches", users, modules, store.batches)
	}
}

// What is done stays done: a replay that is cut off goes on with the rest, and a broken module
// holds up no other.
func TestAReplayGoesOnWhereItEnded(t *testing.T) {
	const modules, users = 20, 200
	fencer, store, policies, open := replayOf(t, modules, users)
	store.broken[open[3].Slot] = true
	if err := replay(t, fencer, store, policies, open); !errors.Is(err, registry.ErrUnreachable) {
		t.Errorf("of a broken module: %v", err)
	}
	if len(store.marked) != modules-1 || store.marked[open[3].Slot] {
		t.Errorf("%d modules were marked; want all but one", len(store.marked))
	}
	if recorded := fencer.Events.(*controllertest.EventLog).Take(); len(recorded) != 0 { // the default store has no resource, and nobody lost entries
		t.Errorf("recorded %q", recorded)
	}
	clear(store.broken)
	if err := replay(t, fencer, store, policies, open[3:4]); err != nil || len(store.marked) != modules {
		t.Errorf("%v; %d modules were marked", err, len(store.marked))
	}
	for call, made := range store.calls {
		if want := 1; call.Slot != open[3].Slot && made != want {
			t.Fatalf("%+v was made %d times", call, made)
		}
	}
}

// Where purges are too many, modules are invalidated, which is quick: a loss is over within its
// time in any case.
func TestAReplayOfTooMuchInvalidates(t *testing.T) {
	for _, test := range []struct {
		name           string
		modules, users int
		batch          time.Duration // that Redis takes
		replayed       int
	}{
		{"in time", 10, 1000, time.Second, 10},
		{"slow", 10, 1000, fenceTimeout/4 + time.Second, 2},
		{"many", 3, maxReplayed/2 - targets, 0, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			fencer, store, policies, open := replayOf(t, test.modules, test.users)
			store.asked = func() { fencer.Clock.(*clocktesting.FakeClock).Step(test.batch) }
			if err := replay(t, fencer, store, policies, open); err != nil {
				t.Fatal(err)
			}
			if len(store.marked) != test.replayed || len(store.fenced) != test.modules-test.replayed {
				t.Errorf("%d modules were replayed, %d invalidated; want %d replayed", len(store.marked), len(store.fenced), test.replayed)
			}
		})
	}
	loss := dataLoss{skipped: []registry.Fence{{Covered: registry.Invalidated{Keys: 7}}}}
	if message := loss.message(status.Location{}); !strings.Contains(message, "1 modules were invalidated, with 7 entries") || !strings.Contains(message, "too many purges") {
		t.Error(message)
	}
}

// Purges are replayed from some time before the last heartbeat on, so that is what must be known.
func TestAReplayIsHeldAgainstItsMargin(t *testing.T) {
	for _, test := range []struct {
		name     string
		began    time.Duration // before the heartbeat
		replayed bool
	}{{"the margin is known", 2 * DefaultReplayMargin, true}, {"part of the margin is not", DefaultReplayMargin / 2, false}} {
		fencer, store, policies, open := replayOf(t, 1, targets)
		fencer.Journal.Start(store.beat.Add(-test.began))
		if err := replay(t, fencer, store, policies, open); err != nil {
			t.Fatal(err)
		}
		if replayed := len(store.marked) == 1 && len(store.fenced) == 0; replayed != test.replayed {
			t.Errorf("%s: replayed %t", test.name, replayed)
		}
	}
}
