// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/internal/redistest/hostile"
	"github.com/cachewright/cachewright/registry"
)

const (
	// hostilePatience is after how long a call counts as one that never ends, on a busy machine.
	hostilePatience = 30 * time.Second
	// hostileAtOnce is how many servers misbehave at a time.
	hostileAtOnce = 8
	// hostileHeap bounds what all of them may add to the heap. An application may read replies of a
	// million elements, which take some 60 MiB once decoded, on a few connections at a time.
	hostileHeap = 384 << 20
	// hostileShare is one in how many faults a test takes, if it does not take all. It is a prime, so
	// that a sample has each way.
	hostileShare = 37
)

// hostileCalls has every call of a Client, except Fetch, which answers whatever happens.
var hostileCalls = map[string]func(context.Context, *cache.Client) error{
	"Audits": func(_ context.Context, c *cache.Client) error { c.Audits(); return nil },
	"Close":  func(context.Context, *cache.Client) error { return nil }, // at the end of all
	"Delete": func(ctx context.Context, c *cache.Client) error { return c.Delete(ctx, hostileKey("list")) },
	"Get": func(ctx context.Context, c *cache.Client) error {
		var value string
		_, err := c.Get(ctx, hostileKey("get"), &value)
		return err
	},
	"Hold": func(ctx context.Context, c *cache.Client) error {
		hold, err := c.Hold(ctx, time.Second, hostileKey("list"), cache.Scope{Module: "users", User: "u"})
		return errors.Join(err, hold.Renew(ctx, time.Second), hold.Release(ctx))
	},
	"InvalidateModule":    func(ctx context.Context, c *cache.Client) error { return c.InvalidateModule(ctx, "users") },
	"InvalidateOperation": func(ctx context.Context, c *cache.Client) error { return c.InvalidateOperation(ctx, "users", "list") },
	"InvalidateSoftly": func(ctx context.Context, c *cache.Client) error {
		return c.InvalidateSoftly(ctx, cache.Scope{Module: "users", User: "u"})
	},
	"InvalidateUser": func(ctx context.Context, c *cache.Client) error { return c.InvalidateUser(ctx, "u") },
	"Set":            func(ctx context.Context, c *cache.Client) error { return c.Set(ctx, hostileKey("set"), "value") },
	"Stats":          func(ctx context.Context, c *cache.Client) error { _, err := c.Stats(ctx); return err },
	"TTL":            func(ctx context.Context, c *cache.Client) error { _, err := c.TTL(ctx, "users", "list"); return err },
}

func hostileKey(operation string) cache.Key {
	return cache.Key{Module: "users", Operation: operation, Params: 1, User: "u"}
}

func TestHostileServersAreAskedEverythingThatAClientCanAsk(t *testing.T) {
	for method := range reflect.TypeFor[*cache.Client]().Methods() {
		if method.Name != "Fetch" && hostileCalls[method.Name] == nil {
			t.Errorf("Client.%s: add it to hostileCalls, so that it meets every way in which a server can misbehave", method.Name)
		}
	}
}

// hostileApplication is a way to make a Client.
type hostileApplication struct {
	name    string
	role    hostile.Role
	client  func(addr string) redis.UniversalClient
	options []cache.Option
}

var hostileApplications = []hostileApplication{
	{name: "client of its own", client: ownClient, options: []cache.Option{cache.WithNearCache(cache.NearCache{})}},
	{name: "client of the environment", client: clientOfEnvironment, options: []cache.Option{cache.WithAutoPipelining(registry.HalfDuplex)}},
	{name: "cluster", role: hostile.ClusterNode, client: ownClusterClient, options: []cache.Option{cache.WithNearCache(cache.NearCache{})}},
	{name: "Sentinel", role: hostile.Sentinel, client: clientOfSentinel, options: []cache.Option{cache.WithAutoPipelining(registry.FullDuplex)}},
}

var quietly = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}

func ownClient(addr string) redis.UniversalClient {
	return redis.NewClient(&redis.Options{
		Addr: addr, ContextTimeoutEnabled: true, ReadTimeout: time.Second, MaintNotificationsConfig: quietly,
	})
}

func ownClusterClient(addr string) redis.UniversalClient {
	return redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: []string{addr}, ContextTimeoutEnabled: true, ReadTimeout: time.Second, MaintNotificationsConfig: quietly,
	})
}

func clientOfEnvironment(addr string) redis.UniversalClient {
	client, err := registry.ClientFromEnv(func(name string) (string, bool) {
		if name != "REDIS_URL" {
			return "", false
		}
		return "redis://" + addr, true
	})
	if err != nil {
		panic(err)
	}
	return client
}

func clientOfSentinel(addr string) redis.UniversalClient {
	return registry.Connection{Addresses: []string{addr}, MasterName: hostile.SentinelMaster}.Client()
}

func TestAnApplicationGoesOnWhateverTheServerAnswers(t *testing.T) {
	server := redistest.Start(t)
	r := registry.New(server.Client())
	if _, err := r.ApplyPolicy(t.Context(), registry.Slot{Namespace: "shop", Module: "users"}, registry.Policy{DefaultTTL: new(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	faults := faultsOf(t, server.Addr())
	for _, a := range hostileApplications {
		t.Run(a.name, func(t *testing.T) {
			base := redistest.PeakHeap(func() { a.useAll(t, server.Addr(), hostile.Fault{}) })
			peak := redistest.PeakHeap(func() { a.meet(t, server.Addr(), faults[a.name]) })
			t.Logf("%d faults, heap %d MiB, without a fault %d MiB", len(faults[a.name]), peak>>20, base>>20)
			if peak > base+hostileHeap {
				t.Errorf("the heap grew to %d MiB, it was %d MiB with a server that behaves", peak>>20, base>>20)
			}
		})
	}
}

// faultsOf returns the faults that each application meets: all that its calls can have, or a sample.
func faultsOf(t *testing.T, upstream string) map[string][]hostile.Fault {
	asked, all := map[string][]string{}, map[string]bool{}
	for _, a := range hostileApplications {
		asked[a.name] = a.useAll(t, upstream, hostile.Fault{})
		for _, call := range asked[a.name] {
			all[call] = true
		}
	}
	every := hostile.Faults(slices.Sorted(maps.Keys(all)))
	sample := hostileSample{met: map[string]bool{}}
	faults := map[string][]hostile.Fault{}
	for _, a := range hostileApplications {
		for _, fault := range every {
			if slices.Contains(asked[a.name], fault.Call) && (os.Getenv("CHAOS_FAULTS") == "all" || sample.takes(a.role, fault)) {
				faults[a.name] = append(faults[a.name], fault)
			}
		}
		t.Logf("%s: %d faults of %q", a.name, len(faults[a.name]), asked[a.name])
		for _, call := range asked[a.name] {
			if !slices.ContainsFunc(faults[a.name], func(f hostile.Fault) bool { return f.Call == call }) {
				t.Errorf("%s meets no fault of %s", a.name, call)
			}
		}
	}
	for _, fault := range every {
		if os.Getenv("CHAOS_FAULTS") != "all" && !sample.met[fault.Way.Name] && !sample.met[fault.String()] {
			t.Errorf("no application meets %q, with %s or another call", fault.Way.Name, fault.Call)
		}
	}
	return faults
}

// hostileSample chooses faults, so that over all applications each way occurs. A way that only some
// calls can have occurs in each of them.
type hostileSample struct {
	met   map[string]bool // ways that were taken, or calls with a way of their own
	count int             // faults so far that any call can have
}

func (s *hostileSample) takes(role hostile.Role, fault hostile.Fault) bool {
	name := fault.String()
	if len(fault.Way.Calls) > 0 {
		if s.met[name] {
			return false
		}
	} else {
		name = fault.Way.Name
		s.count++
		if s.count%hostileShare != 0 && !isFollowed(role, fault) {
			return false
		}
	}
	s.met[name] = true
	return true
}

// isFollowed reports whether a fault is a redirection of a read or a write that the client follows.
func isFollowed(role hostile.Role, fault hostile.Fault) bool {
	return role == hostile.ClusterNode && (fault.Call == "MGET" || fault.Call == "FCALL cw_get") &&
		(strings.HasPrefix(fault.Way.Name, "moved ") || strings.HasPrefix(fault.Way.Name, "asked "))
}

// meet meets many faults, some at a time.
func (a hostileApplication) meet(t *testing.T, upstream string, faults []hostile.Fault) {
	queue := make(chan hostile.Fault)
	var group sync.WaitGroup
	for range hostileAtOnce {
		group.Go(func() {
			for fault := range queue {
				t.Run(fault.String(), func(t *testing.T) { a.useAll(t, upstream, fault) })
			}
		})
	}
	for _, fault := range faults {
		queue <- fault
	}
	close(queue)
	group.Wait()
}

// useAll makes every call to a server with a fault, all at the same time, and returns the names of
// the commands that it got.
func (a hostileApplication) useAll(t *testing.T, upstream string, fault hostile.Fault) []string {
	server := hostile.Start(t, upstream, a.role, fault)
	connection := a.client(server.Addr())
	defer func() { _ = connection.Close() }()
	timeout := 100 * time.Millisecond
	if fault.Call == "" {
		timeout = hostilePatience / 3 // nothing is wrong, but the machine may be busy
	}
	client, err := cache.New(connection, "shop", append([]cache.Option{
		cache.WithTimeout(timeout), cache.WithInvalidationTimeout(2 * timeout),
		cache.WithLoadWait(50 * time.Millisecond), cache.WithReportInterval(50 * time.Millisecond),
		cache.WithLogger(slog.New(slog.DiscardHandler)),
	}, a.options...)...)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.use(t, client, fault)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_ = client.Close(ctx) // its outbox may not be empty
	}()
	select {
	case <-ended:
	case <-time.After(hostilePatience):
		t.Errorf("%s: calls never ended", fault)
	}
	return server.Calls()
}

func (a hostileApplication) use(t *testing.T, client *cache.Client, fault hostile.Fault) {
	var group sync.WaitGroup
	fetch := func(operation string) {
		value, err := cache.Fetch(t.Context(), client, hostileKey(operation), func(context.Context) (string, error) { return "value of " + operation, nil })
		if err != nil || value != "value of "+operation {
			t.Errorf("%s: Fetch: %q, %v", fault, value, err)
		}
	}
	for _, operation := range []string{"list", "byId", "list"} {
		group.Go(func() { fetch(operation); fetch(operation) })
	}
	for name, call := range hostileCalls {
		group.Go(func() {
			err := call(t.Context(), client)
			if fault.Call == "" && err != nil && !errors.Is(err, cache.ErrQueued) {
				t.Errorf("%s: %v", name, err)
			}
			if err != nil && strings.Contains(err.Error(), hostile.Canary) {
				t.Errorf("%s: %s says what a foreign service said: %.300q", fault, name, err)
			}
		})
	}
	group.Wait()
	fetch("list")
}
