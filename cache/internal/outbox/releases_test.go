// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/cache/internal/background"
	"github.com/cachewright/cachewright/registry"
)

// holding is a server that can be switched off. It records what it carries out.
type holding struct {
	mu   sync.Mutex
	down bool
	done []string
	// during is called while a release is carried out; nil: nothing.
	during func()
}

func (h *holding) do(what string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down {
		return registry.ErrUnreachable
	}
	h.done = append(h.done, what)
	return nil
}

func (h *holding) set(down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = down
}

func (h *holding) carriedOut() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.done)
}

func (h *holding) send(_ context.Context, module string, scope Scope, _ registry.Mode) error {
	return h.do("invalidate " + module + " " + scope.Operation)
}

func (h *holding) release(_ context.Context, module string, id registry.HoldID, of []Scope) error {
	var operations []string
	for _, scope := range of {
		operations = append(operations, scope.Operation)
	}
	slices.Sort(operations)
	err := h.do(fmt.Sprint("release ", module, " ", id[0], " ", strings.Join(operations, " ")))
	if h.during != nil && err == nil {
		h.during()
	}
	return err
}

func withHolding(t *testing.T, test func(t *testing.T, o *Outbox, h *holding)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &holding{down: true}
		runner := background.New(func(value any) { t.Error(value) })
		modules := func(context.Context) ([]string, error) { return nil, registry.ErrUnreachable }
		o := New(h.send, modules, runner)
		o.ReleaseWith(h.release)
		test(t, o, h)
		_ = runner.Close(context.Background())
	})
}

// holdOf returns a hold that ends in a minute.
func holdOf(id byte) Hold { return Hold{ID: registry.HoldID{id}, Ends: time.Now().Add(time.Minute)} }

// Marks are taken away before what they covered is invalidated. A mark that has ended need not be,
// but may have let older values in.
func TestReleaseIsDelivered(t *testing.T) {
	get, list := Scope{Operation: "get"}, Scope{Operation: "list"}
	for name, test := range map[string]struct {
		away time.Duration
		want []string
	}{
		"while the marks stand":     {time.Second, []string{"release users 1 get list", "release users 2 get", "invalidate users get", "invalidate users list"}},
		"after they have ended":     {2 * time.Minute, []string{"invalidate users get", "invalidate users list"}},
		"as soon as Redis is there": {0, []string{"release users 1 get list", "release users 2 get", "invalidate users get", "invalidate users list"}},
	} {
		t.Run(name, func(t *testing.T) {
			withHolding(t, func(t *testing.T, o *Outbox, h *holding) {
				o.EnqueueRelease("users", []Scope{get, list}, holdOf(1))
				if o.CoalesceRelease("users", []Scope{get, {Operation: "other"}}, holdOf(3)) {
					t.Error("joins what does not cover it")
				}
				if !o.CoalesceRelease("users", []Scope{get}, holdOf(2)) {
					t.Error("does not join what covers it")
				}
				if !o.Covers(registry.Key{Slot: registry.Slot{Module: "users"}, Operation: "list"}) {
					t.Error("what a release covers is read from Redis while it waits")
				}
				time.Sleep(test.away)
				h.set(false)
				time.Sleep(2 * maxPause)
				synctest.Wait()
				got := h.carriedOut()
				slices.SortFunc(got, func(a, b string) int {
					if first := strings.Compare(b[:1], a[:1]); first != 0 {
						return first // releases first
					}
					return strings.Compare(a, b)
				})
				if !slices.Equal(got, test.want) || o.Waiting() {
					t.Errorf("Redis carried out %q, want %q", got, test.want)
				}
				if len(got) > 2 && !strings.HasPrefix(h.carriedOut()[0], "release") {
					t.Errorf("%q is not in order", h.carriedOut())
				}
				if o.releases.size != 0 {
					t.Errorf("%d marks are still noted", o.releases.size)
				}
			})
		})
	}
}

// A renewal that Redis carries out late puts marks again. The release that is asked for then must
// not be taken for the one that is under way.
func TestReleaseThatIsAskedForAgainIsSentAgain(t *testing.T) {
	withHolding(t, func(t *testing.T, o *Outbox, h *holding) {
		of := []Scope{{Operation: "get"}}
		h.set(false)
		once := sync.OnceFunc(func() { o.EnqueueRelease("users", of, holdOf(1)) })
		h.during = once
		o.EnqueueRelease("users", of, holdOf(1))
		time.Sleep(2 * maxPause)
		synctest.Wait()
		want := []string{"release users 1 get", "invalidate users get", "release users 1 get", "invalidate users get"}
		if got := h.carriedOut(); !slices.Equal(got, want) {
			t.Errorf("Redis carried out %q, want %q", got, want)
		}
	})
}

func TestReleasesThatWaitAreBounded(t *testing.T) {
	o := newOutbox()
	for i := range maxReleases + 10 {
		hold := holdOf(0)
		hold.ID[0], hold.ID[1] = byte(i), byte(i>>8)
		o.addRelease(fmt.Sprint("m", i%10), []Scope{{Operation: "get"}}, hold)
	}
	if o.releases.size != maxReleases || o.Len() != 10 {
		t.Errorf("%d marks are noted, and %d scopes wait", o.releases.size, o.Len())
	}
	for i := range maxModules {
		o.add(fmt.Sprint("other", i), Scope{}, registry.ModeHard)
	}
	if o.releases.size != 0 || !o.Covers(registry.Key{Slot: registry.Slot{Module: "m3"}, Operation: "get"}) {
		t.Errorf("%d marks are noted in modules that are not listed any more", o.releases.size)
	}
	o.addRelease("late", []Scope{{Operation: "get"}}, holdOf(1))
}
