// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"testing"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/cachewright/cachewright/registry"
)

func TestAConnectionEndsWithItsLastUser(t *testing.T) {
	store := &scriptedStore{health: fine("a")}
	monitor, _ := monitorOf(t, store, false)
	if err := monitor.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	closed := false
	monitor.link.close = func() { closed = true }
	first, second := monitor.Open(), monitor.Open()

	monitor.disconnect()
	first.Close(nil)
	if closed {
		t.Fatal("closed while somebody used it")
	}
	second.Close(nil)
	if !closed {
		t.Error("not closed by its last user")
	}
}

// Who meets an error keeps all others from meeting it, too, until the store was looked at.
func TestDoubtHoldsBackUntilTheNextLook(t *testing.T) {
	store := &scriptedStore{health: fine("a")}
	monitor, _ := monitorOf(t, store, true)
	if err := monitor.look(t.Context()); err != nil {
		t.Fatal(err)
	}

	clock := monitor.Clock.(*clocktesting.FakeClock)
	clock.Step(trust)
	meets := monitor.Open()
	if meets.Err() != nil {
		t.Fatal(meets.Err())
	}
	meets.Close(faultOf(errLost, meets.place))

	if err := monitor.Open().Err(); !errors.Is(err, errStorePending) {
		t.Errorf("in doubt: %v; want that the others wait", err)
	}
	select {
	case <-monitor.now:
	default:
		t.Error("the monitor was not told to look at once")
	}

	if err := monitor.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := monitor.Open().Err(); err != nil {
		t.Errorf("after a look that found it well: %v", err)
	}

	clock.Step(trust)
	monitor.Open().Close(faultOf(errLost, meets.place))
	store.answer(registry.Health{}, errDown)
	_ = monitor.look(t.Context())
	if err := monitor.Open().Err(); !errors.Is(err, errDown) {
		t.Errorf("after a look that found it down: %v", err)
	}
}

func TestWhatIsNotTheStoresFaultRaisesNoDoubt(t *testing.T) {
	monitor, _ := monitorOf(t, &scriptedStore{health: fine("a")}, true)
	if err := monitor.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	monitor.Clock.(*clocktesting.FakeClock).Step(trust)
	for _, err := range []error{nil, errRefused, errForbidden, errDamaged, errFull, context.Canceled, errors.New("the API server is away")} {
		session := monitor.Open()
		session.Close(faultOf(err, session.place))
		if err := monitor.Open().Err(); err != nil {
			t.Errorf("%v: %v", err, err)
		}
	}
}

// What a look does not find raises no doubt again at once, or others would be turned away all the time.
func TestAStoreThatWasJustFoundWellIsTrusted(t *testing.T) {
	monitor, _ := monitorOf(t, &scriptedStore{health: fine("a")}, true)
	if err := monitor.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	session := monitor.Open()
	session.Close(faultOf(errLost, session.place))
	if err := monitor.Open().Err(); err != nil {
		t.Errorf("it is in doubt: %v", err)
	}
	select {
	case <-monitor.now:
		t.Error("it is looked at again")
	default:
	}
}

// Who was turned away while the store was in doubt, or before it was looked at, waits for the look and no longer.
func TestWhoWasTurnedAwayIsWokenByTheLook(t *testing.T) {
	monitor, woken := monitorOf(t, &scriptedStore{health: fine("a")}, true)
	clock := monitor.Clock.(*clocktesting.FakeClock)
	monitor.Reader = fakeCache(t) // nobody is woken for another reason
	turnAway := func() {
		t.Helper()
		session := monitor.Open()
		if !errors.Is(session.Err(), errStorePending) {
			t.Fatalf("it was let in: %v", session.Err())
		}
		f := faultOf(session.Err(), session.place)
		session.Close(f)
		session.await(usersPolicy(), f)
	}
	for i, reason := range []string{"nobody looked yet", "it is in doubt"} {
		turnAway()
		if woken() != i {
			t.Errorf("%s: woken before the look", reason)
		}
		if err := monitor.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, reason+": not woken by the look", func() bool { return woken() == i+1 })
		clock.Step(trust)
		session := monitor.Open()
		session.Close(faultOf(errLost, session.place))
	}
	if err := monitor.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if woken() != 2 {
		t.Errorf("woken %d times, want once each", woken())
	}
}
