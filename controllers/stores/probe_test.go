// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	clocktesting "k8s.io/utils/clock/testing"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/stores/calls"
	"github.com/cachewright/cachewright/registry"
)

// probedStore answers a probe as a test says.
type probedStore struct {
	*controllertest.PanickyStore

	install, writable error
	attempts          int
}

func (s *probedStore) Install(ctx context.Context) (int, error) {
	s.attempts++
	if s.install != nil {
		return 0, s.install
	}
	return s.PanickyStore.Install(ctx)
}

func (s *probedStore) Writable(context.Context) error { return s.writable }

// fakeConnector connects to a store, unless it has an error, and counts what it closes.
type fakeConnector struct {
	store  calls.Store
	err    error
	closed int
}

func (*fakeConnector) onDataLoss() v1.DataLossPolicy { return "" }

func (*fakeConnector) declaration() declaration {
	return declaration{location: status.Location{Address: "r:6379"}, version: Version{generation: 7}}
}

func (c *fakeConnector) connect(context.Context, declaration, *link) (*link, error) {
	if c.err != nil {
		return nil, c.err
	}
	return &link{store: c.store, close: func() { c.closed++ }}, nil
}

// proberOf returns a prober of a store with a library of that version.
func proberOf(library int, leads bool) (*prober, *probedStore, *fakeConnector) {
	health := controllertest.Healthy("a")
	health.LibraryVersion = library
	store := &probedStore{PanickyStore: &controllertest.PanickyStore{
		ScriptedStore: &controllertest.ScriptedStore{Health: health},
	}}
	connector, clock := &fakeConnector{store: store}, clocktesting.NewFakePassiveClock(time.Now())
	return &prober{
		connection: &connection{
			connector: connector, clock: clock, log: logr.Discard(), lost: func() {}, modules: calls.NewModuleCache(),
		},
		latency: &latency{}, leads: func() bool { return leads }, clock: clock, log: logr.Discard(),
	}, store, connector
}

// probeOnce probes a store that nobody has settled on.
func probeOnce(t *testing.T, p *prober) (ProbeResult, *link) {
	t.Helper()
	result, l := p.probe(t.Context(), func(Version) bool { return false })
	if result.Version != (Version{generation: 7}) {
		t.Errorf("the result is of version %+v", result.Version)
	}
	return result, l
}

func TestAProbeWithoutAConnectionSaysWhy(t *testing.T) {
	p, _, connector := proberOf(registry.LibraryVersion, true)
	connector.err = status.ErrStoreSecret
	if result, l := probeOnce(t, p); !errors.Is(result.Err, status.ErrStoreSecret) || l != nil {
		t.Errorf("found %+v, over %v", result, l)
	}
}

func TestAProbeInstallsAnOlderLibraryIfThisReplicaLeads(t *testing.T) {
	older := registry.LibraryVersion - 1
	for name, test := range map[string]struct {
		leads                bool
		before, after, loads int
	}{
		"it leads":                         {true, older, registry.LibraryVersion, 1},
		"another leads":                    {false, older, older, 0},
		"it leads, the library is its own": {true, registry.LibraryVersion, registry.LibraryVersion, 0},
		"it leads, the library is newer":   {true, registry.LibraryVersion + 1, registry.LibraryVersion + 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p, store, _ := proberOf(test.before, test.leads)
			result, l := probeOnce(t, p)
			if result.Err != nil || l == nil || result.Health.LibraryVersion != test.after || store.Installs != test.loads {
				t.Errorf("found %+v, after %d loads", result, store.Installs)
			}
		})
	}
}

func TestAProbeMeetsAnErrorOfEachOfItsCalls(t *testing.T) {
	for name, test := range map[string]struct {
		fail func(*probedStore)
		says string
	}{
		"check":    {func(s *probedStore) { s.Answer(registry.Health{}, controllertest.ErrDown) }, "connection refused"},
		"install":  {func(s *probedStore) { s.install = controllertest.ErrDown }, "installing the function library: "},
		"writable": {func(s *probedStore) { s.writable = controllertest.ErrDown }, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			p, store, connector := proberOf(0, true)
			test.fail(store)
			result, l := probeOnce(t, p)
			if !errors.Is(result.Err, registry.ErrUnreachable) || !strings.Contains(result.Err.Error(), test.says) {
				t.Errorf("the error is %v", result.Err)
			}
			l.leave()
			if p.connection.link != l || connector.closed != 0 {
				t.Error("the connection was given up")
			}
		})
	}
}

func TestAProbeThatPanicsGivesUpTheConnection(t *testing.T) {
	p, store, connector := proberOf(registry.LibraryVersion, true)
	store.PanicOver("Check")
	result, l := probeOnce(t, p)
	if !errors.Is(result.Err, registry.ErrMisbehaves) || status.StackOf(result.Err) == "" {
		t.Errorf("the error is %v", result.Err)
	}
	if p.connection.link != nil || connector.closed != 0 {
		t.Errorf("the connection is in use; %d were closed", connector.closed)
	}
	l.leave()
	if connector.closed != 1 {
		t.Errorf("%d connections were closed", connector.closed)
	}
}

// errForbidden is the answer to a user that may not load a library.
var errForbidden = fmt.Errorf("loading the function library: %w: NOPERM", registry.ErrForbidden)

func TestAStoreMayKeepAnOlderLibrary(t *testing.T) {
	for name, test := range map[string]struct {
		version int
		install error
		keeps   bool
	}{
		"an older one":              {registry.OldestLibrary, errForbidden, true},
		"one that is too old":       {registry.OldestLibrary - 1, errForbidden, false},
		"none":                      {0, errForbidden, false},
		"one, for another reason":   {registry.OldestLibrary, controllertest.ErrDown, false},
		"one, and it can be loaded": {registry.OldestLibrary, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			p, store, _ := proberOf(test.version, true)
			store.install = test.install
			result, _ := probeOnce(t, p)
			if result.KeepsLibrary != test.keeps || (result.Err != nil) != (test.install != nil && !test.keeps) {
				t.Errorf("found %+v", result)
			}
			if wanted := test.version; test.keeps && result.Health.LibraryVersion != wanted {
				t.Errorf("it has version %d, want %d", result.Health.LibraryVersion, wanted)
			}
		})
	}
}

// Each attempt sends the whole library.
func TestAnOlderLibraryIsNotReplacedAgainAndAgain(t *testing.T) {
	p, store, _ := proberOf(registry.OldestLibrary, true)
	store.install = errForbidden
	p.connection.renewInterval = time.Hour // the connection stays
	clock := p.clock.(*clocktesting.FakePassiveClock)
	settled := func(Version) bool { return true }
	for i, want := range []int{1, 1, 2, 2} {
		if result, _ := p.probe(t.Context(), settled); !result.KeepsLibrary || store.attempts != want {
			t.Errorf("probe %d: %d attempts, want %d; found %+v", i, store.attempts, want, result)
		}
		clock.SetTime(clock.Now().Add(installAgainAfter/2 + time.Second))
	}
	store.install = nil
	clock.SetTime(clock.Now().Add(installAgainAfter))
	if result, _ := p.probe(t.Context(), settled); result.KeepsLibrary || result.Health.LibraryVersion != registry.LibraryVersion {
		t.Errorf("once it may be loaded: %+v", result)
	}
}
