// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"context"
	"errors"
	"testing"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/registry"
)

func TestAConnectionEndsWithItsLastUser(t *testing.T) {
	store := &controllertest.ScriptedStore{Health: controllertest.Healthy("a")}
	monitor, _ := monitorOf(t, store, false)
	if err := monitor.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	closed := false
	monitor.connection.link.close = func() { closed = true }
	first, second := monitor.Open(), monitor.Open()

	monitor.connection.disconnect()
	first.Close(nil)
	if closed {
		t.Fatal("closed while somebody used it")
	}
	second.Close(nil)
	if !closed {
		t.Error("not closed by its last user")
	}
}

// A new leader of a newer version may find an older library. That would reject a field that it does
// not know, and the policy would stay rejected.
func TestAnOlderLibraryIsNotUsedUntilTheLeaderReplacedIt(t *testing.T) {
	older := controllertest.Healthy("a")
	older.LibraryVersion--
	store := &controllertest.ScriptedStore{Health: older}
	monitor, _ := monitorOf(t, store, false)
	if err := monitor.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := monitor.Open().Err(); !errors.Is(err, status.ErrStorePending) {
		t.Errorf("with an older library: %v; want that it waits for the next probe", err)
	}
	elected := make(chan struct{})
	close(elected)
	monitor.Elected = elected
	if err := monitor.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	replaced := monitor.Open()
	defer replaced.Close(nil)
	if err := replaced.Err(); err != nil || store.Installs != 1 {
		t.Errorf("after %d installations: %v; want that it is used", store.Installs, err)
	}
}

// Who meets an error keeps all others from meeting it, too, until the store was probed.
func TestASuspectStoreIsNotUsedUntilTheNextProbe(t *testing.T) {
	store := &controllertest.ScriptedStore{Health: controllertest.Healthy("a")}
	monitor, _ := monitorOf(t, store, true)
	if err := monitor.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}

	clock := monitor.Clock.(*clocktesting.FakeClock)
	clock.Step(recheckAfter)
	meets := monitor.Open()
	if meets.Err() != nil {
		t.Fatal(meets.Err())
	}
	meets.Close(status.Classify(controllertest.ErrLost, meets.Location()))

	if err := monitor.Open().Err(); !errors.Is(err, status.ErrStorePending) {
		t.Errorf("suspect: %v; want that the others wait", err)
	}
	select {
	case <-monitor.wakeup:
	default:
		t.Error("the monitor does not probe immediately")
	}

	if err := monitor.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := monitor.Open().Err(); err != nil {
		t.Errorf("after a probe that found it usable: %v", err)
	}

	clock.Step(recheckAfter)
	monitor.Open().Close(status.Classify(controllertest.ErrLost, meets.Location()))
	store.Answer(registry.Health{}, controllertest.ErrDown)
	_ = monitor.Probe(t.Context())
	if err := monitor.Open().Err(); !errors.Is(err, controllertest.ErrDown) {
		t.Errorf("after a probe that found it down: %v", err)
	}
}

func TestWhatIsNotTheStoresFaultDoesNotMakeItSuspect(t *testing.T) {
	monitor, _ := monitorOf(t, &controllertest.ScriptedStore{Health: controllertest.Healthy("a")}, true)
	if err := monitor.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	monitor.Clock.(*clocktesting.FakeClock).Step(recheckAfter)
	for _, err := range []error{nil, controllertest.ErrRefused, controllertest.ErrForbidden, controllertest.ErrDamaged, controllertest.ErrFull, context.Canceled, errors.New("the API server is away")} {
		session := monitor.Open()
		session.Close(status.Classify(err, session.Location()))
		if err := monitor.Open().Err(); err != nil {
			t.Errorf("%v: %v", err, err)
		}
	}
}

// What a probe does not find does not make the store suspect again immediately, or others would be turned away all the
// time.
func TestAStoreThatWasJustProbedIsNotSuspect(t *testing.T) {
	monitor, _ := monitorOf(t, &controllertest.ScriptedStore{Health: controllertest.Healthy("a")}, true)
	if err := monitor.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	session := monitor.Open()
	session.Close(status.Classify(controllertest.ErrLost, session.Location()))
	if err := monitor.Open().Err(); err != nil {
		t.Errorf("it is suspect: %v", err)
	}
	select {
	case <-monitor.wakeup:
		t.Error("it is probed again")
	default:
	}
}

// Who was turned away while the store was suspect, or before it was probed, waits for the probe
// and no longer.
func TestWhoWasTurnedAwayIsWokenByTheProbe(t *testing.T) {
	monitor, woken := monitorOf(t, &controllertest.ScriptedStore{Health: controllertest.Healthy("a")}, true)
	clock := monitor.Clock.(*clocktesting.FakeClock)
	monitor.waker.Referrers.Reader, monitor.syncer.Referrers.Reader = controllertest.FakeCache(t), controllertest.FakeCache(t)
	monitor.collector.Referrers.Reader = controllertest.FakeCache(t) // nobody is woken for another reason
	turnAway := func() {
		t.Helper()
		session := monitor.Open()
		if !errors.Is(session.Err(), status.ErrStorePending) {
			t.Fatalf("it was let in: %v", session.Err())
		}
		f := status.Classify(session.Err(), session.Location())
		session.Close(f)
		session.wakeAfterProbe(controllertest.UsersPolicy(), f)
	}
	for i, reason := range []string{"not probed yet", "suspect"} {
		turnAway()
		if woken() != i {
			t.Errorf("%s: woken before the probe", reason)
		}
		if err := monitor.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		controllertest.WaitFor(t, reason+": not woken by the probe", func() bool { return woken() == i+1 })
		clock.Step(recheckAfter)
		session := monitor.Open()
		session.Close(status.Classify(controllertest.ErrLost, session.Location()))
	}
	if err := monitor.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if woken() != 2 {
		t.Errorf("woken %d times, want once each", woken())
	}
}
