// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"context"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/queue"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/registry"
)

func TestOneLossIsReportedToABoundedNumberOfPolicies(t *testing.T) {
	policies := make([]v1.CachePolicy, maxLossEvents+50)
	loss := dataLoss{}
	for i := range policies {
		policies[i] = *controllertest.UsersPolicy()
		policies[i].Namespace, policies[i].Spec.Module = "shop", fmt.Sprint("m", i)
		loss.invalidated = append(loss.invalidated, registry.Fence{Slot: convert.Slot(&policies[i]), Covered: registry.Invalidated{Keys: 1}})
	}
	if affected := len(affectedPolicies(policies, loss)); affected != maxLossEvents {
		t.Errorf("reported to %d policies, want %d", affected, maxLossEvents)
	}
}

// heartbeatLog remembers where heartbeats were left.
type heartbeatLog struct {
	Store

	left map[registry.Incarnation]registry.Slot
}

func (l *heartbeatLog) Heartbeat(_ context.Context, slots map[registry.Incarnation]registry.Slot, _ time.Time) error {
	l.left = slots
	return nil
}

func TestAHeartbeatIsLeftOnEachPrimaryInASlotOfItsOwn(t *testing.T) {
	g := NewWithT(t)
	log := &heartbeatLog{}
	p := &pass{
		Fencer: &Fencer{FencerConfig: FencerConfig{Clock: clocktesting.NewFakeClock(time.Now())}},
		Target: Target{Store: log, OnDataLoss: v1.DataLossReplay},
	}
	slots := []registry.Slot{{Namespace: "shop", Module: "a"}, {Namespace: "shop", Module: "b"}, {Namespace: "shop", Module: "c"}, {Namespace: "shop", Module: "d"}}
	serving := []registry.Incarnation{"one", "two", "one", ""}
	p.known.inPlace = map[registry.Slot]registry.Incarnation{slots[0]: "one", slots[1]: "two", slots[2]: "one"}

	g.Expect(p.heartbeat(t.Context(), slots, serving)).To(Succeed())
	g.Expect(log.left).To(Equal(map[registry.Incarnation]registry.Slot{"one": slots[0], "two": slots[1]}))
}

// holdingReader knows one invalidation that holds.
type holdingReader struct {
	client.Reader

	holding v1.CacheInvalidation
}

func (r *holdingReader) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	list.(*v1.CacheInvalidationList).Items = []v1.CacheInvalidation{r.holding}
	return nil
}

// holdLog counts holds.
type holdLog struct {
	Store

	holds int
}

func (l *holdLog) Hold(
	context.Context, registry.Slot, registry.HoldID, time.Duration, ...registry.HoldTarget,
) (registry.Held, error) {
	l.holds++
	return registry.Held{}, nil
}

func TestHoldsArePutBackWhereTheLibraryKnowsThem(t *testing.T) {
	now := time.Now()
	holding := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
	holding.Spec.HoldFor = &metav1.Duration{Duration: time.Hour}
	holding.Status.HoldEndTime = &metav1.Time{Time: now.Add(time.Hour)}
	for library, want := range map[int]int{registry.HoldsLibrary - 1: 0, registry.HoldsLibrary: 1} {
		log, woken, slot := &holdLog{}, make(queue.Enqueuer, 1), registry.Slot{Namespace: "shop", Module: "users"}
		lost := NewLostMarks(woken)
		p := &pass{
			Fencer: &Fencer{FencerConfig: FencerConfig{
				Clock: clocktesting.NewFakeClock(now), Referrers: resource.Referrers{Reader: &holdingReader{holding: *holding}},
				LostMarks: lost,
			}},
			Target: Target{Store: log, Health: registry.Health{LibraryVersion: library}},
		}
		if err := p.restoreHolds(t.Context(), []registry.Slot{slot}); err != nil || log.holds != want {
			t.Errorf("version %d: %d holds (%v), want %d", library, log.holds, err, want)
		}
		if got := lost.Take(holding.UID)[slot]; got != int64(want) || len(woken) != want {
			t.Errorf("version %d: %d lost marks are noted, and %d invalidations woken", library, got, len(woken))
		}
		if left := lost.Take(holding.UID); len(left) > 0 {
			t.Errorf("version %d: %v is counted twice", library, left)
		}
	}
}
