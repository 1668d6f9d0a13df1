// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"testing"

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
	for _, err := range []error{nil, errRefused, context.Canceled, errors.New("the API server is away")} {
		session := monitor.Open()
		session.Close(faultOf(err, session.place))
		if err := monitor.Open().Err(); err != nil {
			t.Errorf("%v: %v", err, err)
		}
	}
}
