// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
)

const runbook = "../docs/operations.md"

// documentedUsers makes the users of the runbook on servers.
func documentedUsers(t *testing.T, servers ...*redistest.Server) {
	t.Helper()
	for _, server := range servers {
		for _, user := range []string{"cachewright", "shop"} {
			server.ApplyACL(redistest.ACLOf(t, runbook, user))
		}
	}
}

func registryAs(server *redistest.Server, user string) *Registry {
	return New(server.ClientAs(user, "secret"))
}

// wantLeast fails the test unless a user is allowed exactly what was called.
func wantLeast(t *testing.T, server *redistest.Server, user string, called redistest.Commands) {
	t.Helper()
	granted := server.Granted(user)
	if missing := called.Without(granted); len(missing) > 0 {
		t.Errorf("the ACL of %s lacks %s", user, missing)
	}
	if idle := granted.Without(called); len(idle) > 0 {
		t.Errorf("the ACL of %s allows %s, which nothing needs", user, idle)
	}
}

// operatorAtWork does, as the user of the operator, what the operator does with a store. between is
// done by others, when there is nothing to measure.
type operatorAtWork struct {
	*Registry
	t      *testing.T
	tenant *Registry
	called redistest.Commands
	// calledBy measures.
	calledBy func(func()) redistest.Commands
}

func (o *operatorAtWork) must(_ any, err error) {
	o.t.Helper()
	if err != nil {
		o.t.Error(err)
	}
}

func (o *operatorAtWork) measure(do func(context.Context)) {
	o.called.Add(o.calledBy(func() { do(o.t.Context()) }))
}

// fill has the tenant store more than a call goes through at once.
func (o *operatorAtWork) fill() {
	o.t.Helper()
	for i := range 300 {
		for _, key := range []Key{entry("list", string(rune(i)), "u"), entry("shared", string(rune(i)), "")} {
			if lookup := lease(o.t, o.tenant, key); !lookup.Hit {
				if _, err := o.tenant.Set(o.t.Context(), key, []byte("x"), lookup.Token); err != nil {
					o.t.Fatal(err)
				}
			}
		}
	}
}

func (o *operatorAtWork) watch(ctx context.Context) {
	o.must(o.Install(ctx))
	health, err := o.Check(ctx)
	o.must(health, err)
	o.must(o.Serving(ctx, health, []Slot{users}))
	fences, err := o.Fences(ctx, []Slot{users})
	o.must(nil, err)
	o.must(nil, o.Fence(ctx, fences))
	o.must(nil, o.MarkFenced(ctx, fences))
	o.must(nil, o.Heartbeat(ctx, map[Incarnation]Slot{fences[0].Incarnation: users}, time.Now()))
	o.must(o.LastHeartbeat(ctx, users))
	o.must(nil, o.AddModules(ctx, users.Namespace, users.Module))
	o.must(nil, o.AddAllModules(ctx, map[string][]string{users.Namespace: {users.Module}}))
	o.must(nil, o.EnsureListed(ctx, Slot{Namespace: users.Namespace, Module: "another"}, noOthers))
	o.must(nil, o.EnsureListed(ctx, Slot{Namespace: "unknown", Module: "another"}, noOthers))
	o.must(o.Modules(ctx, users.Namespace))
	o.must(o.PolicyHashes(ctx, []Slot{users}))
	o.must(o.HavePolicies(ctx, []Slot{users}))
	o.must(o.StatsOf(ctx, []Slot{users}))
	o.must(o.Stats(ctx, users))
	o.must(o.Unclaimed(ctx, users.Namespace))
}

// fillFew has the tenant store what a call lists one by one, and leaves something that has expired
// in an index.
func (o *operatorAtWork) fillFew() {
	o.t.Helper()
	key := entry("list", "a", "few")
	lookup := lease(o.t, o.tenant, key)
	o.must(o.tenant.Set(o.t.Context(), key, []byte("x"), lookup.Token))
	expired := redis.Z{Score: 1, Member: "4:list:3:few:b"}
	o.must(o.tenant.client.ZAdd(o.t.Context(), keyOf(users)+":iu:few", expired).Result())
}

func (o *operatorAtWork) reclaim() { reclaimAll(o.t, o.Registry, users) }

func (o *operatorAtWork) purge(scopes ...Scope) func(context.Context) {
	return func(ctx context.Context) {
		for _, scope := range scopes {
			for _, mode := range []Mode{ModeDry, ModeSoft, ModeHard} {
				o.must(o.Invalidate(ctx, users, scope, mode, string(mode)+scope.Operation+"/"+scope.User))
			}
		}
		o.reclaim()
	}
}

func (o *operatorAtWork) apply(policy Policy) func(context.Context) {
	return func(ctx context.Context) {
		o.must(o.ApplyPolicy(ctx, users, policy))
		o.must(o.Reclaim(ctx, users, 200))
		o.reclaim()
	}
}

func (o *operatorAtWork) doEverything() {
	o.t.Helper()
	o.measure(o.apply(Policy{Revision: "1", DefaultTTL: new(10 * time.Hour)}))
	o.measure(o.watch)
	o.fill()
	o.measure(o.watch)
	o.measure(o.apply(Policy{Revision: "1", DefaultTTL: new(time.Hour)}))
	o.measure(o.purge(Scope{Operation: "list", User: "u"}))
	o.fillFew()
	o.measure(o.purge(Scope{Operation: "list", User: "few"}))
	o.fill()
	o.measure(o.purge(Scope{User: "u"}, Scope{Operation: "list"}))
	o.fill()
	o.measure(o.purge(Scope{}))
	o.fill()
	o.measure(o.apply(Policy{Revision: "2", DefaultTTL: new(time.Hour)}))
	o.measure(func(ctx context.Context) { o.must(o.DeletePolicy(ctx, users)) })
}

// The ACL that docs/operations.md gives the operator suffices for all that it does with a store,
// and is minimal. (So is that of applications: package cache.)
func TestDocumentedACLSufficesForTheOperator(t *testing.T) {
	server := redistest.Start(t)
	documentedUsers(t, server)
	o := &operatorAtWork{
		Registry: registryAs(server, "cachewright"), tenant: registryAs(server, "shop"), t: t,
		called: redistest.Commands{}, calledBy: server.CalledBy,
	}
	o.doEverything()
	o.called.Add(calledInACluster(t))
	if refused := server.Refused(); len(refused) > 0 {
		t.Errorf("refused: %s", refused)
	}
	wantLeast(t, server, "cachewright", o.called)
}

// calledInACluster are the commands by which a client finds its way there.
func calledInACluster(t *testing.T) redistest.Commands {
	t.Helper()
	cluster := redistest.StartCluster(t, 2)
	documentedUsers(t, cluster.Servers()...)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs(), Username: "cachewright", Password: "secret"})
	t.Cleanup(func() { _ = client.Close() })
	r := New(client)
	called := cluster.CalledBy(func() {
		if _, err := r.Install(t.Context()); err != nil {
			t.Error(err)
		}
	})
	cluster.BeginMove(keyOf(users))
	called.Add(cluster.CalledBy(func() { apply(t, r, users, caching()) }))
	return called
}

// The ACL in docs/operations.md for clients of Sentinels suffices and is minimal. Without one of
// its commands, Sentinels refuse something.
func TestDocumentedACLSufficesForSentinels(t *testing.T) {
	t.Parallel()
	group := redistest.StartSentinel(t, 1, 1)
	sentinel := group.Sentinels()[0]
	lines := redistest.ACLOf(t, runbook, "watcher")
	sentinel.ApplyACL(lines)
	refusedWith := func(ctx context.Context) []string {
		operator := Connection{
			Addresses: group.Addrs(), MasterName: redistest.MasterName, SentinelUsername: "watcher", SentinelPassword: "secret",
		}.Client()
		defer func() { _ = operator.Close() }()
		application := redis.NewFailoverClient(&redis.FailoverOptions{
			SentinelAddrs: group.Addrs(), MasterName: redistest.MasterName, SentinelUsername: "watcher", SentinelPassword: "secret",
			MaxRetries: -1, DialerRetries: 1,
		})
		defer func() { _ = application.Close() }()
		before := len(sentinel.Refused())
		for ctx.Err() == nil && len(sentinel.Refused()) == before {
			_ = operator.Ping(ctx).Err() // where Sentinels refuse to name the primary, it fails
			_ = application.Ping(ctx).Err()
			time.Sleep(50 * time.Millisecond)
		}
		return sentinel.Refused()[:len(sentinel.Refused())-before]
	}
	// A client looks after a subscription that is silent for three seconds.
	quiet, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if refused := refusedWith(quiet); len(refused) > 0 {
		t.Errorf("refused: %s", refused)
	}
	for command := range sentinel.Granted("watcher") {
		sentinel.ApplyACL(append(slices.Clone(lines), "ACL SETUSER watcher -"+command))
		waiting, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if refused := refusedWith(waiting); len(refused) == 0 {
			t.Errorf("nothing needs %s", command)
		}
		cancel()
	}
}

// What a tenant asks for in another namespace is refused, whatever it asks by; and what would show
// or harm others is.
func TestDocumentedACLConfinesATenant(t *testing.T) {
	server := redistest.Start(t)
	documentedUsers(t, server)
	operator, tenant := registryOn(t, server.ClientAs("cachewright", "secret")), registryAs(server, "shop")
	for _, other := range []Slot{{Namespace: "shop2", Module: "users"}, {Namespace: "sho", Module: "users"}, {Namespace: "team", Module: "users"}} {
		apply(t, operator, other, caching())
		key := Key{Slot: other, Operation: "list", ID: "a"}
		fillAll(t, registryOn(t, server.Client()), key)
		_, readErr := tenant.Read(t.Context(), key)
		_, leaseErr := tenant.Lease(t.Context(), key)
		_, invalidateErr := tenant.Invalidate(t.Context(), other, Scope{}, ModeHard, "")
		_, applyErr := tenant.ApplyPolicy(t.Context(), other, caching())
		_, statsErr := tenant.Stats(t.Context(), other)
		_, modulesErr := tenant.Modules(t.Context(), other.Namespace)
		_, fencesErr := tenant.Fences(t.Context(), []Slot{other})
		for what, err := range map[string]error{
			"read": readErr, "lease": leaseErr, "invalidate": invalidateErr, "apply": applyErr, "stats": statsErr, "modules": modulesErr,
			"fences": fencesErr,
		} {
			if !errors.Is(err, ErrUnauthorized) {
				t.Errorf("the tenant of shop may %s in %s: %v", what, other, err)
			}
		}
		if lookup, err := New(server.Client()).Read(t.Context(), key); err != nil || !lookup.Hit {
			t.Errorf("%s lost an entry: %v", other, err)
		}
	}
	for _, command := range []string{
		"FUNCTION LOAD x", "FUNCTION FLUSH", "FUNCTION DELETE cachewright", "FUNCTION RESTORE x", "FUNCTION KILL", "SCRIPT KILL", "EVAL x 0",
		"KEYS *", "SCAN 0", "RANDOMKEY", "DBSIZE", "MONITOR", "CLIENT LIST", "FLUSHALL", "FLUSHDB", "SWAPDB 0 1", "CONFIG GET *",
		"SHUTDOWN", "ACL LIST", "SADD cw:{shop}:modules x", "DEL cw:{shop}:modules", "SUBSCRIBE other", "PUBLISH __redis__:invalidate x",
	} {
		if err := tenant.client.Do(t.Context(), words(command)...).Err(); !refusedByACL(err) {
			t.Errorf("%s as a tenant: %v", command, err)
		}
	}
}

func refusedByACL(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "NOPERM ") }

// What servers say of a command that the caller of a function may not call.
var deniedInScript = regexp.MustCompile(`ACL failure in script|user executing the script can't`)

// Redis checks the keys of a function's call, and each key that the function uses. A library that
// used other keys would be refused.
func TestAFunctionCannotDoWhatTheACLForbids(t *testing.T) {
	server := redistest.Start(t)
	documentedUsers(t, server)
	const meddler = `#!lua name=meddler
redis.register_function('meddle', function(keys, args) return redis.call(unpack(args)) end)`
	if err := server.Client().FunctionLoad(t.Context(), meddler).Err(); err != nil {
		t.Fatal(err)
	}
	tenant := server.ClientAs("shop", "secret")
	meddle := func(args ...any) error {
		return tenant.FCall(t.Context(), "meddle", []string{keyOf(users)}, args...).Err()
	}
	if err := meddle("SET", keyOf(users)+":m", "x"); err != nil {
		t.Fatalf("within its namespace: %v", err)
	}
	for _, args := range [][]any{
		{"GET", "cw:{team/users}:m"},
		{"DEL", "cw:{team/users}:m"},
		{"SET", "cw:{shop}:modules", "x"},
		{"KEYS", "*"},
		{"FLUSHALL"},
		{"RANDOMKEY"},
	} {
		if err := meddle(args...); err == nil || !deniedInScript.MatchString(err.Error()) {
			t.Errorf("%v by a function that a tenant calls: %v", args, err)
		}
	}
}
