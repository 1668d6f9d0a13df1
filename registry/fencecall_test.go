// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
)

func ensureFenced(t *testing.T, r *Registry) FenceState {
	t.Helper()
	state, err := r.EnsureFenced(t.Context(), users)
	if err != nil || !state.InPlace {
		t.Fatalf("%+v (%v)", state, err)
	}
	return state
}

func checkFence(t *testing.T, r *Registry) FenceState {
	t.Helper()
	state, err := r.CheckFence(t.Context(), users)
	if err != nil || state.Put {
		t.Fatalf("%+v (%v)", state, err)
	}
	return state
}

func TestOneCallFencesAModuleOnceInAnIncarnation(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	fillAll(t, r, entry("list", "a", ""))
	token := leaseAnew(t, r, entry("list", "b", ""))

	if state := checkFence(t, r); state.InPlace {
		t.Fatalf("before: %+v", state)
	}
	if !isHit(t, r, entry("list", "a", "")) {
		t.Error("a check invalidated")
	}
	incarnation, err := IncarnationOf(t.Context(), client)
	if state := ensureFenced(t, r); err != nil || !state.Put || state.Incarnation != incarnation {
		t.Errorf("first: %+v in %s (%v)", state, incarnation, err)
	}
	if isHit(t, r, entry("list", "a", "")) {
		t.Error("an entry outlived the fence")
	}
	if filled, err := r.Set(t.Context(), entry("list", "b", ""), nil, token); err != nil || filled.Outcome != Fenced {
		t.Errorf("a load from before the fence is %s (%v)", filled.Outcome, err)
	}
	fillAll(t, r, entry("list", "a", ""))
	if state := ensureFenced(t, r); state.Put || state.Incarnation != incarnation {
		t.Errorf("second: %+v", state)
	}
	if !isHit(t, r, entry("list", "a", "")) {
		t.Error("the second call invalidated again")
	}
}

// The operator and other versions of clients fence by other calls.
func TestAllWaysToFenceShareTheirFences(t *testing.T) {
	ways := map[string]func(*testing.T, *Registry){
		"Fence": func(t *testing.T, r *Registry) { putInPlace(t, r, fenceOf(t, r, users)) },
		"MarkFenced": func(t *testing.T, r *Registry) {
			if err := r.MarkFenced(t.Context(), []Fence{fenceOf(t, r, users)}); err != nil {
				t.Fatal(err)
			}
		},
		"EnsureFenced": func(t *testing.T, r *Registry) { ensureFenced(t, r) },
	}
	for name, fence := range ways {
		t.Run(name, func(t *testing.T) {
			r, _ := newRegistry(t)
			apply(t, r, users, caching())
			fence(t, r)
			fillAll(t, r, entry("list", "a", ""))
			if !checkFence(t, r).InPlace || ensureFenced(t, r).Put || !fenceOf(t, r, users).InPlace {
				t.Error("the fence is not seen")
			}
			if covered := putInPlace(t, r, fenceOf(t, r, users)); covered.Keys > 0 && name != "EnsureFenced" {
				t.Errorf("fenced again: %+v", covered)
			}
			if !isHit(t, r, entry("list", "a", "")) {
				t.Error("it was fenced again")
			}
		})
	}
}

func TestAFenceIsRememberedForThirtyDaysAfterEachCall(t *testing.T) {
	r, client := newRegistry(t)
	key := keyspace.RequestKey(users, fenceRequest(ensureFenced(t, r).Incarnation))
	for name, call := range map[string]func(*testing.T, *Registry) FenceState{"EnsureFenced": ensureFenced, "CheckFence": checkFence} {
		client.PExpire(t.Context(), key, time.Minute)
		call(t, r)
		if left := client.PTTL(t.Context(), key).Val(); left > 720*time.Hour || left < 719*time.Hour {
			t.Errorf("after %s it is remembered for %s", name, left)
		}
	}
}

func TestWhatAnOldSnapshotBringsBackIsFencedByOneCall(t *testing.T) {
	server := redistest.Start(t)
	r := registryOn(t, server.Client())
	apply(t, r, users, caching())
	before := ensureFenced(t, r)
	fillAll(t, r, entry("list", "a", ""))
	server.Save()
	invalidate(t, r, users, Scope{})

	server.Restart()
	eventually(t, func() error { return server.Client().Ping(t.Context()).Err() }).Should(gomega.Succeed())
	if !isHit(t, r, entry("list", "a", "")) {
		t.Fatal("the snapshot brought nothing back: the test shows nothing")
	}
	if after := ensureFenced(t, r); !after.Put || after.Incarnation == before.Incarnation {
		t.Errorf("after a restart: %+v, before: %+v", after, before)
	}
	if isHit(t, r, entry("list", "a", "")) {
		t.Error("what the snapshot brought back is served")
	}
}

// What is under the key may be the answer to another request, or not be of the library.
func TestOnlyAnInvalidationOfTheModuleIsAFence(t *testing.T) {
	r, client := newRegistry(t)
	incarnation, err := IncarnationOf(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	key := keyspace.RequestKey(users, fenceRequest(incarnation))
	for name, write := range map[string]func() error{
		"another scope": func() error {
			_, err := r.Invalidate(t.Context(), users, Scope{Operation: "list"}, ModeHard, fenceRequest(incarnation))
			return err
		},
		"another mode": func() error {
			_, err := r.Invalidate(t.Context(), users, Scope{}, ModeSoft, fenceRequest(incarnation))
			return err
		},
		"any text":     func() error { return client.Set(t.Context(), key, "fenced", 0).Err() },
		"nothing":      func() error { return client.Set(t.Context(), key, "", 0).Err() },
		"another type": func() error { return client.RPush(t.Context(), key, "0 0").Err() },
	} {
		t.Run(name, func(t *testing.T) {
			client.Del(t.Context(), key)
			if err := write(); err != nil {
				t.Fatal(err)
			}
			if state := checkFence(t, r); state.InPlace {
				t.Errorf("%+v", state)
			}
			if state := ensureFenced(t, r); !state.Put {
				t.Errorf("%+v", state)
			}
			if state := ensureFenced(t, r); state.Put {
				t.Errorf("again: %+v", state)
			}
		})
	}
}

func TestAFenceNeedsToKnowTheIncarnation(t *testing.T) {
	renamed := registryOn(t, redistest.Start(t, "--rename-command", "INFO", "renamed").Client())
	server := redistest.Start(t)
	registryOn(t, server.Client())
	server.AddUser("uninformed", "secret", "~*", "+@all", "-info")
	for name, test := range map[string]struct {
		by   *Registry
		want error
	}{
		"INFO is renamed":   {renamed, ErrAnonymous},
		"INFO is forbidden": {registryAs(server, "uninformed"), ErrForbidden},
	} {
		for call, fence := range map[string]func(*Registry) (FenceState, error){
			"EnsureFenced": func(r *Registry) (FenceState, error) { return r.EnsureFenced(t.Context(), users) },
			"CheckFence":   func(r *Registry) (FenceState, error) { return r.CheckFence(t.Context(), users) },
		} {
			if state, err := fence(test.by); !errors.Is(err, test.want) || state != (FenceState{}) {
				t.Errorf("%s, %s: %+v (%v), want %v", name, call, state, err, test.want)
			}
		}
		if keys := keysOf(t, test.by.client, users); len(keys) > 0 {
			t.Errorf("%s: it left %q", name, keys)
		}
	}
	const said = "CACHEWRIGHT NOPERM cw_fence needs the right to call INFO (+info)"
	err := server.ClientAs("uninformed", "secret").FCall(t.Context(), "cw_fence", []string{keyOf(users)}).Err()
	if err == nil || !strings.HasPrefix(err.Error(), said) {
		t.Errorf("it says %v, want %s", err, said)
	}
}

func TestAReplicaIsNotFenced(t *testing.T) {
	t.Parallel()
	group := redistest.StartSentinel(t, 1, 1)
	registryOn(t, group.Client())
	group.Primary().WaitReplicated()
	replica := New(group.Replicas()[0].Client())
	for name, call := range map[string]func() (FenceState, error){
		"EnsureFenced": func() (FenceState, error) { return replica.EnsureFenced(t.Context(), users) },
		"CheckFence":   func() (FenceState, error) { return replica.CheckFence(t.Context(), users) },
	} {
		if state, err := call(); !errors.Is(err, ErrRefusesWrites) {
			t.Errorf("%s: %+v (%v)", name, state, err)
		}
	}
}

// olderLibrary is a library without the calls that came with PutLibrary.
func olderLibrary(t *testing.T) string {
	t.Helper()
	older := Library
	for now, before := range map[string]string{
		fmt.Sprintf("local VERSION = %d\n", LibraryVersion): fmt.Sprintf("local VERSION = %d\n", PutLibrary-1),
		`register\('cw_(fence|put)',.*\n`:                   "",
		`'schema', 'heads'\}`:                               "'schema'}",
		`function fill.options_with_ttl\(text\)\n`:          "function fill.options_with_ttl()\n  if true then return nil end\n",
		`\(takes_token and 'room, schema, heads' or 'schema'\)\n    .. ', and ttl with a whole number of ms from 1, in this order'`: "'room, schema, in this order'",
	} {
		if !regexp.MustCompile(now).MatchString(older) {
			t.Fatalf("the library has no %s", now)
		}
		older = regexp.MustCompile(now).ReplaceAllString(older, before)
	}
	return older
}

// withOlderLibrary starts a server that keeps an older library: its user may load no other.
func withOlderLibrary(t *testing.T) (*Registry, *redis.Client) {
	t.Helper()
	server := redistest.Start(t)
	if err := server.Client().FunctionLoad(t.Context(), olderLibrary(t)).Err(); err != nil {
		t.Fatal(err)
	}
	documentedUsers(t, server)
	return registryAs(server, "shop"), server.Client()
}

func TestAnOlderLibraryThatMustNotBeReplacedKnowsNoFences(t *testing.T) {
	r, client := withOlderLibrary(t)
	if state, err := r.EnsureFenced(t.Context(), users); !errors.Is(err, ErrLibraryTooOld) {
		t.Errorf("%+v (%v)", state, err)
	}
	if state, err := New(client).EnsureFenced(t.Context(), users); err != nil || !state.Put {
		t.Errorf("by a user who may load the library: %+v (%v)", state, err)
	}
}

// A library that says that it is new enough, and is not, is replaced by nobody.
func TestALibraryOfThisVersionWithoutACallIsTooOld(t *testing.T) {
	r, client := newRegistry(t)
	without := regexp.MustCompile(`register\('cw_fence',.*\n`).ReplaceAllString(Library, "")
	if err := client.FunctionLoadReplace(t.Context(), without).Err(); err != nil {
		t.Fatal(err)
	}
	if state, err := r.EnsureFenced(t.Context(), users); !errors.Is(err, ErrLibraryTooOld) {
		t.Errorf("%+v (%v)", state, err)
	}
}

// The user of a tenant, as docs/operations.md makes it, may fence what is its own, and nothing else.
func TestDocumentedACLSufficesToFence(t *testing.T) {
	server := redistest.Start(t)
	registryOn(t, server.Client())
	documentedUsers(t, server)
	wantTenantFences(t, registryAs(server, "shop"))
	if refused := server.Refused(); len(refused) > 1 { // that of the other namespace
		t.Errorf("refused: %s", refused)
	}
}

func TestDocumentedACLSufficesToFenceInACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 2)
	registryOn(t, cluster.Client())
	documentedUsers(t, cluster.Servers()...)
	wantTenantFences(t, New(clusterClientAs(t, cluster, "shop")))
}

func clusterClientAs(t *testing.T, cluster *redistest.Cluster, user string) *redis.ClusterClient {
	t.Helper()
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs(), Username: user, Password: "secret"})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func wantTenantFences(t *testing.T, tenant *Registry) {
	t.Helper()
	for _, module := range []string{"users", "orders", "a", "b"} { // on all nodes
		slot := Slot{Namespace: "shop", Module: module}
		if state, err := tenant.CheckFence(t.Context(), slot); err != nil || state.InPlace {
			t.Errorf("%s: %+v (%v)", slot, state, err)
		}
		for _, put := range []bool{true, false} {
			if state, err := tenant.EnsureFenced(t.Context(), slot); err != nil || !state.InPlace || state.Put != put {
				t.Errorf("%s: %+v (%v), want Put %v", slot, state, err, put)
			}
		}
	}
	if state, err := tenant.EnsureFenced(t.Context(), Slot{Namespace: "team", Module: "users"}); !errors.Is(err, ErrForbidden) {
		t.Errorf("of another tenant: %+v (%v)", state, err)
	}
}
