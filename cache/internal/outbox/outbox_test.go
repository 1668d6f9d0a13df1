// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/cachewright/cachewright/cache/internal/background"
	"github.com/cachewright/cachewright/registry"
)

// newOutbox returns an Outbox that delivers nothing.
func newOutbox() *Outbox {
	send := func(context.Context, string, Scope, registry.Mode) error { return registry.ErrUnreachable }
	modules := func(context.Context) ([]string, error) { return nil, registry.ErrUnreachable }
	return New(send, modules, background.New(func(value any) { panic(value) }))
}

// A request that comes while an earlier one is on its way may be about a later change.
func TestInvalidationAskedForDuringADeliveryIsDeliveredToo(t *testing.T) {
	o := newOutbox()
	for _, p := range []Scope{{}, {Operation: "get"}} {
		o.add("users", p, registry.ModeHard)
		underway := o.items()["users"][0]
		o.add("users", p, registry.ModeHard)
		o.remove(underway)
		if !o.Covers(registry.Key{Slot: registry.Slot{Module: "users"}, Operation: "get"}) {
			t.Errorf("%+v: forgotten", p)
		}
		o.remove(o.items()["users"][0])
		if o.Waiting() || !o.stopIfEmpty() {
			t.Errorf("%+v: never delivered", p)
		}
	}
}

// However many invalidations wait, none is lost, and their memory is bounded.
func TestUndeliveredCoversAllThatWasAskedFor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := newOutbox()
		names := rapid.SampledFrom([]string{"", "a", "b"})
		modules := rapid.IntRange(1, 2*maxModules).Draw(t, "modules")
		for i := range rapid.IntRange(1, 300).Draw(t, "n") {
			module := fmt.Sprint(rapid.IntRange(0, modules).Draw(t, "module"))
			p := Scope{Operation: names.Draw(t, "operation"), User: names.Draw(t, "user")}
			if rapid.Bool().Draw(t, "many") {
				module, p = "m", Scope{Operation: fmt.Sprint("op", i), User: p.User}
			}
			mode := rapid.SampledFrom([]registry.Mode{registry.ModeHard, registry.ModeSoft}).Draw(t, "mode")
			o.add(module, p, mode)
			key := registry.Key{Slot: registry.Slot{Module: module}, Operation: p.Operation, User: p.User, ID: "x"}
			if !o.Covers(key) {
				t.Fatalf("%+v of %s is not covered", p, module)
			}
			if mode == registry.ModeHard && !hardCovers(o, key) {
				t.Fatalf("%+v of %s waits as a soft one only", p, module)
			}
			if got := len(o.byModule[module]); got > maxScopes+1 {
				t.Fatalf("%d scopes of a module wait", got)
			}
		}
	})
	o := newOutbox()
	for i := range 3 * maxModules {
		o.add(fmt.Sprint(i), Scope{Operation: "get"}, registry.ModeSoft)
	}
	if len(o.byModule) > maxModules {
		t.Errorf("%d modules wait", len(o.byModule))
	}
	if !hardCovers(o, registry.Key{Slot: registry.Slot{Module: "0"}, Operation: "get"}) {
		t.Error("the first module was lost")
	}
}

func hardCovers(o *Outbox, key registry.Key) bool {
	hard := map[Scope]waiting{}
	for _, module := range []string{key.Module, EveryModule} {
		for p, w := range o.byModule[module] {
			if w.mode == registry.ModeHard {
				hard[p] = w
			}
		}
	}
	return covers(hard, key)
}

// redis is a server that can be switched off. It counts what is sent to it.
type redis struct {
	mu   sync.Mutex
	down bool
	sent int
}

func (r *redis) send(context.Context, string, Scope, registry.Mode) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent++
	if r.down {
		return registry.ErrUnreachable
	}
	return nil
}

func (r *redis) calls() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent
}

func (r *redis) comeBack() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = false
}

// withOutbox runs a test with an Outbox over a server that is down.
func withOutbox(t *testing.T, test func(t *testing.T, o *Outbox, r *redis)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &redis{down: true}
		runner := background.New(func(value any) { t.Error(value) })
		modules := func(context.Context) ([]string, error) { return []string{"posts", "users"}, nil }
		test(t, New(r.send, modules, runner), r)
		_ = runner.Close(context.Background())
	})
}

func TestDeliveryBacksOff(t *testing.T) {
	withOutbox(t, func(t *testing.T, o *Outbox, r *redis) {
		for range 10 {
			o.Enqueue("users", Scope{}, registry.ModeHard)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if tries := r.calls(); tries < 10 || tries > 40 {
			t.Errorf("%d attempts in a minute, want one every few seconds", tries)
		}
	})
}

// The attempts become rare while Redis is away. A new request must not wait for the next one.
func TestInvalidationThatIsAskedForAgainIsTriedSoon(t *testing.T) {
	withOutbox(t, func(t *testing.T, o *Outbox, r *redis) {
		o.Enqueue("users", Scope{}, registry.ModeHard)
		time.Sleep(time.Minute)
		r.comeBack()
		if !o.Coalesce("users", Scope{Operation: "get"}, registry.ModeSoft) {
			t.Error("it is not covered by the one that waits")
		}
		time.Sleep(2 * firstPause)
		synctest.Wait()
		if o.Waiting() {
			t.Error("it still waits")
		}
	})
}

func TestAnInvalidationOfEveryModuleIsSentToEach(t *testing.T) {
	withOutbox(t, func(t *testing.T, o *Outbox, r *redis) {
		r.comeBack()
		o.Enqueue(EveryModule, Scope{User: "ada"}, registry.ModeHard)
		time.Sleep(time.Second)
		synctest.Wait()
		if sent := r.calls(); sent != 2 || o.Waiting() || o.Len() != 0 {
			t.Errorf("%d calls, %d invalidations wait", sent, o.Len())
		}
	})
}

func TestCloseSaysWhatIsLost(t *testing.T) {
	withOutbox(t, func(t *testing.T, o *Outbox, r *redis) {
		o.Enqueue("users", Scope{Operation: "get"}, registry.ModeHard)
		o.Enqueue(EveryModule, Scope{User: "ada"}, registry.ModeHard)
		want := "cache: 2 invalidations did not reach Redis, for these modules: all of the namespace, users; " +
			"their entries may be out of date until they expire: invalidate the modules"
		if err := o.Close(t.Context()); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		r.comeBack()
		if err := o.Close(t.Context()); err != nil {
			t.Errorf("closing again, with Redis back: %v", err)
		}
	})
}
