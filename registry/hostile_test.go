// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/internal/redistest/hostile"
)

const (
	// hostileDeadline is that of each call to a server that misbehaves.
	hostileDeadline = time.Second
	// hostileSample is one in so many faults that a test meets if it is not to meet all.
	hostileSample = 8
	// hostileTimeout is when a call counts as one that never ends, on a machine that does much else.
	// So long, too, it is tried until a server was asked what it misbehaves in: others may have loaded
	// the library meanwhile.
	hostileTimeout = 30 * time.Second
	// hostileAtOnce is how many servers misbehave at a time.
	hostileAtOnce = 8
	// hostileHeap bounds what all of them may add to the heap.
	hostileHeap = 96 << 20
)

// listed is a namespace that has a list of modules, to which each call of EnsureListed adds another.
const listed = "listed"

var joined atomic.Int64

// heldByHostile identifies the hold of a server that misbehaves.
var heldByHostile = NewHoldID()

type hostileCall func(context.Context, *Registry) (any, error)

// bystanders are made beside the calls that meet a fault: a connection that a fault left in disorder
// must not answer them.
var bystanders = []string{"Invalidate", "Modules", "Read"}

// hostileCalls has every call of a Registry.
var hostileCalls = map[string]hostileCall{
	"AddAllModules": func(ctx context.Context, r *Registry) (any, error) {
		return nil, r.AddAllModules(ctx, map[string][]string{"shop": {"users"}, "other": {"orders"}})
	},
	"AddModules":  func(ctx context.Context, r *Registry) (any, error) { return nil, r.AddModules(ctx, "shop", "users") },
	"ApplyPolicy": func(ctx context.Context, r *Registry) (any, error) { return r.ApplyPolicy(ctx, users, caching()) },
	"ApplyPolicyFor": func(ctx context.Context, r *Registry) (any, error) {
		return r.ApplyPolicyFor(ctx, Claim{Slot: users, Owner: "owner"}, caching())
	},
	"Check":        func(ctx context.Context, r *Registry) (any, error) { return r.Check(ctx) },
	"Delete":       func(ctx context.Context, r *Registry) (any, error) { return r.Delete(ctx, entry("list", "1", "")) },
	"DeletePolicy": func(ctx context.Context, r *Registry) (any, error) { return r.DeletePolicy(ctx, users) },
	"DeletePolicyFor": func(ctx context.Context, r *Registry) (any, error) {
		return r.DeletePolicyFor(ctx, Claim{Slot: users, Owner: "owner"})
	},
	"EnsureListed": func(ctx context.Context, r *Registry) (any, error) {
		return nil, r.EnsureListed(ctx, Slot{Namespace: listed, Module: fmt.Sprint("module-", joined.Add(1))}, noOthers)
	},
	"CheckFence":   func(ctx context.Context, r *Registry) (any, error) { return r.CheckFence(ctx, users) },
	"EnsureFenced": func(ctx context.Context, r *Registry) (any, error) { return r.EnsureFenced(ctx, users) },
	"Fence":        func(ctx context.Context, r *Registry) (any, error) { return nil, fenceAll(ctx, r, r.Fence) },
	"Fences":       func(ctx context.Context, r *Registry) (any, error) { return r.Fences(ctx, []Slot{users}) },
	"Get":          func(ctx context.Context, r *Registry) (any, error) { return r.Get(ctx, entry("list", "1", "u")) },
	"HavePolicies": func(ctx context.Context, r *Registry) (any, error) {
		return r.HavePolicies(ctx, []Slot{users, {Namespace: "a", Module: "b"}})
	},
	"Heartbeat": func(ctx context.Context, r *Registry) (any, error) {
		incarnation, err := IncarnationOf(ctx, r.client)
		if err != nil {
			return nil, err
		}
		return nil, r.Heartbeat(ctx, map[Incarnation]Slot{incarnation: users}, time.Now())
	},
	"Hold": func(ctx context.Context, r *Registry) (any, error) {
		return r.Hold(ctx, users, heldByHostile, time.Second, HoldEntry(entry("list", "held", "")))
	},
	"Fill": func(ctx context.Context, r *Registry) (any, error) {
		return r.Fill(ctx, entry("list", "1", ""), []byte("payload"), "token", FillOptions{TTL: time.Second})
	},
	"Put": func(ctx context.Context, r *Registry) (any, error) {
		return r.Put(ctx, entry("list", "1", ""), []byte("payload"), FillOptions{})
	},
	"Inspect": func(ctx context.Context, r *Registry) (any, error) {
		lookup, _, err := r.Inspect(ctx, entry("list", "1", ""))
		return lookup, err
	},
	"Install": func(ctx context.Context, r *Registry) (any, error) { return r.Install(ctx) },
	"Invalidate": func(ctx context.Context, r *Registry) (any, error) {
		return r.Invalidate(ctx, users, Scope{Operation: "list"}, ModeHard, "request")
	},
	"InvalidateMany": func(ctx context.Context, r *Registry) (any, error) {
		results := r.InvalidateMany(ctx, []Invalidation{{Slot: users, Mode: ModeSoft}, {Slot: users, Mode: ModeDry}})
		return results, errors.Join(results[0].Err, results[1].Err)
	},
	"LastHeartbeat": func(ctx context.Context, r *Registry) (any, error) { return r.LastHeartbeat(ctx, users) },
	"Lease":         func(ctx context.Context, r *Registry) (any, error) { return r.Lease(ctx, entry("list", "1", "")) },
	"LeaseLocked": func(ctx context.Context, r *Registry) (any, error) {
		return r.LeaseLocked(ctx, entry("list", "1", ""), time.Second)
	},
	"MarkFenced": func(ctx context.Context, r *Registry) (any, error) { return nil, fenceAll(ctx, r, r.MarkFenced) },
	"Modules":    func(ctx context.Context, r *Registry) (any, error) { return r.Modules(ctx, "shop") },
	"OwnPolicies": func(ctx context.Context, r *Registry) (any, error) {
		return nil, r.OwnPolicies(ctx, []Claim{{Slot: users, Owner: "owner"}})
	},
	"Policy": func(ctx context.Context, r *Registry) (any, error) {
		_, is, err := r.Policy(ctx, users)
		return is, err
	},
	"PolicyHashes": func(ctx context.Context, r *Registry) (any, error) {
		return r.PolicyHashes(ctx, []Slot{users, {Namespace: "a", Module: "b"}})
	},
	"Read": func(ctx context.Context, r *Registry) (any, error) { return r.Read(ctx, entry("list", "1", "")) },
	"ReadLocked": func(ctx context.Context, r *Registry) (any, error) {
		lookup, _, err := r.ReadLocked(ctx, entry("list", "1", "u"))
		return lookup, err
	},
	"Reclaim": func(ctx context.Context, r *Registry) (any, error) { return r.Reclaim(ctx, users, 100) },
	"Release": func(ctx context.Context, r *Registry) (any, error) {
		return r.Release(ctx, users, heldByHostile, HoldEntry(entry("list", "held", "")))
	},
	"Report": func(ctx context.Context, r *Registry) (any, error) {
		return nil, r.Report(ctx, users, "list", Counters{Hits: 1, Errors: 2})
	},
	"Serving": func(ctx context.Context, r *Registry) (any, error) { return r.Serving(ctx, Health{}, []Slot{users}) },
	"Set": func(ctx context.Context, r *Registry) (any, error) {
		return r.Set(ctx, entry("list", "1", ""), []byte("payload"), "token")
	},
	"SetNegative": func(ctx context.Context, r *Registry) (any, error) {
		return r.SetNegative(ctx, entry("list", "1", ""), nil, "token")
	},
	"Stats": func(ctx context.Context, r *Registry) (any, error) { return r.Stats(ctx, users) },
	"StatsOf": func(ctx context.Context, r *Registry) (any, error) {
		return r.StatsOf(ctx, []Slot{users, {Namespace: "a", Module: "b"}})
	},
	"ReportUnclaimed": func(ctx context.Context, r *Registry) (any, error) {
		return nil, r.ReportUnclaimed(ctx, "shop", []Unclaimed{{Module: "user", Reads: 1}})
	},
	"Unclaimed": func(ctx context.Context, r *Registry) (any, error) { return r.Unclaimed(ctx, "shop") },
	"UnclaimedOf": func(ctx context.Context, r *Registry) (any, error) {
		return r.UnclaimedOf(ctx, []string{"shop", "a"})
	},
	"Unlock": func(ctx context.Context, r *Registry) (any, error) { return nil, r.Unlock(ctx, entry("list", "1", "")) },
	"Writable": func(ctx context.Context, r *Registry) (any, error) {
		return nil, r.Writable(ctx)
	},
}

func fenceAll(ctx context.Context, r *Registry, fence func(context.Context, []Fence) error) error {
	fences, err := r.Fences(ctx, []Slot{users})
	if err != nil {
		return err
	}
	return fence(ctx, fences)
}

func TestHostileServersAreAskedEverythingThatARegistryCanAsk(t *testing.T) {
	for method := range reflect.TypeFor[*Registry]().Methods() {
		if hostileCalls[method.Name] == nil {
			t.Errorf("Registry.%s: add it to hostileCalls, so that it meets every way in which a server can misbehave", method.Name)
		}
	}
}

// hostile starts a server that misbehaves, and a client of it.
func startHostile(tb testing.TB, upstream string, role hostile.Role, fault hostile.Fault) (*hostile.Server, *Registry, func()) {
	server, err := hostile.Run(upstream, role, fault)
	if err != nil {
		tb.Fatal(err)
	}
	connection := Connection{Addresses: []string{server.Addr()}, Username: "tenant", Password: "secret", Role: RoleOperator}
	switch role {
	case hostile.ClusterNode:
		connection.Cluster = true
	case hostile.Sentinel:
		connection.MasterName = hostile.SentinelMaster
		connection.SentinelUsername, connection.SentinelPassword = "tenant", "secret"
	default:
		connection.DB = 1
	}
	client := connection.Client()
	return server, New(client), func() { _ = client.Close(); server.Close() }
}

func TestEveryCallEndsWellWhateverTheServerAnswers(t *testing.T) {
	server := redistest.Start(t)
	server.AddUser("tenant", "secret", "~*", "&*", "+@all")
	for _, db := range []int{0, 1} {
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), DB: db})
		if err := New(client).AddModules(t.Context(), listed, "module-0"); err != nil {
			t.Fatal(err)
		}
		_ = client.Close()
	}
	flush := func() { server.Client().FunctionFlush(t.Context()) } // so that the library must be loaded
	calls := map[hostile.Role][]string{}
	base := redistest.PeakHeap(func() {
		for _, role := range hostile.Roles() {
			calls[role] = ask(t, server.Addr(), role, hostile.Fault{}, hostileCalls)
		}
	})
	for role, faults := range hostile.FaultsOf(calls) {
		meeting := func(string) map[string]hostileCall { return hostileCalls }
		if os.Getenv("CHAOS_FAULTS") != "all" {
			faults = hostile.Sample(faults, hostileSample)
			meeting = sendersOf(t, server.Addr(), role)
		}
		t.Run(role.String(), func(t *testing.T) {
			peak := redistest.PeakHeap(func() { askAll(t, server.Addr(), role, faults, meeting, flush) })
			t.Logf("%d faults of %q, heap %d MiB, without a fault %d MiB", len(faults), calls[role], peak>>20, base>>20)
			if peak > base+hostileHeap {
				t.Errorf("the heap grew to %d MiB, it was %d MiB with a server that behaves", peak>>20, base>>20)
			}
		})
	}
}

// sendersOf returns which calls of a Registry send a command, with the bystanders.
func sendersOf(t *testing.T, upstream string, role hostile.Role) func(command string) map[string]hostileCall {
	t.Helper()
	senders := map[string]map[string]hostileCall{}
	for name, call := range hostileCalls {
		for _, command := range ask(t, upstream, role, hostile.Fault{}, map[string]hostileCall{name: call}) {
			if senders[command] == nil {
				senders[command] = map[string]hostileCall{}
				for _, bystander := range bystanders {
					senders[command][bystander] = hostileCalls[bystander]
				}
			}
			senders[command][name] = call
		}
	}
	return func(command string) map[string]hostileCall {
		if calls := senders[command]; calls != nil {
			return calls
		}
		return hostileCalls // of the command that loads the library, for example, which any call may send
	}
}

// askAll meets many faults, some at a time.
func askAll(
	t *testing.T, upstream string, role hostile.Role, faults []hostile.Fault,
	meeting func(command string) map[string]hostileCall, flush func(),
) {
	queue := make(chan hostile.Fault)
	var group sync.WaitGroup
	for range hostileAtOnce {
		group.Go(func() {
			for fault := range queue {
				t.Run(fault.String(), func(t *testing.T) {
					asked := false
					for began := time.Now(); !asked && time.Since(began) < hostileTimeout; {
						if fault.Call == "FUNCTION LOAD" {
							flush()
						}
						asked = slices.Contains(ask(t, upstream, role, fault, meeting(fault.Call)), fault.Call)
					}
					if !asked {
						t.Error("the server was not asked")
					}
				})
			}
		})
	}
	for _, fault := range faults {
		queue <- fault
	}
	close(queue)
	group.Wait()
}

// ask makes calls at a server with a fault, all at the same time, and returns what it was asked.
func ask(
	t *testing.T, upstream string, role hostile.Role, fault hostile.Fault, calls map[string]hostileCall,
) []string {
	server, registry, closeAll := startHostile(t, upstream, role, fault)
	defer closeAll()
	deadline := hostileDeadline
	if fault.Call == "" {
		deadline = hostileTimeout // nothing is wrong, but the machine may be busy
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	var group sync.WaitGroup
	waits := make(map[string]*atomic.Bool, len(calls))
	for name, call := range calls {
		ended := &atomic.Bool{}
		waits[name] = ended
		group.Go(func() {
			defer ended.Store(true)
			answer, err := call(ctx, registry)
			if fault.Call == "" && err != nil && !errors.Is(err, ErrModulesUnknown) {
				t.Errorf("%s: %v", name, err)
			}
			if err := wellFormed(answer, err); err != nil {
				t.Errorf("%s, %s: %v", fault, name, err)
			}
		})
	}
	ended := make(chan struct{})
	go func() { group.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(hostileTimeout):
		maps.DeleteFunc(waits, func(_ string, ended *atomic.Bool) bool { return ended.Load() })
		t.Errorf("%s: never ended: %q", fault, slices.Sorted(maps.Keys(waits)))
	}
	return server.Calls()
}

// wellFormed says what is wrong with an answer, or with the error in its place.
func wellFormed(answer any, err error) error {
	if err != nil {
		return showable(err.Error())
	}
	return walk(reflect.ValueOf(answer))
}

// walk looks for numbers below zero, and for text that status and metrics may not show.
func walk(v reflect.Value) error {
	switch v.Kind() {
	case reflect.Int, reflect.Int64:
		if v.Int() < 0 {
			return fmt.Errorf("a negative number, %d", v.Int())
		}
	case reflect.String:
		return showable(v.String())
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[[]byte]() {
			return nil
		}
		for i := range v.Len() {
			if err := walk(v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return nil
		}
		for field, value := range v.Fields() {
			if field.Type != reflect.TypeFor[Token]() {
				if err := walk(value); err != nil {
					return fmt.Errorf("%s: %w", field.Name, err)
				}
			}
		}
	}
	return nil
}

func showable(text string) error {
	const longest = 4096
	switch {
	case strings.Contains(text, hostile.Canary):
		return fmt.Errorf("what a foreign service said: %.200q", text)
	case strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' || r == unicode.ReplacementChar }):
		return fmt.Errorf("control bytes: %.200q", text)
	case len(text) > longest:
		return fmt.Errorf("text of %d bytes: %.200q", len(text), text)
	default:
		return nil
	}
}
