// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

const (
	runbook = "../docs/operations.md"
	// many is more than an invalidation frees at once, and than a change of a policy checks.
	many = 400
)

// application belongs to namespace shop, and logs in as the user that the runbook creates for it.
type application struct {
	*cache.Client
	t     *testing.T
	admin *redis.Client
	other *registry.Registry // it does not log in as that user
}

func newApplication(t *testing.T, admin *redis.Client, client redis.UniversalClient) *application {
	t.Helper()
	c := newCache(t, client, cache.WithTimeout(waitTimeout), cache.WithReportInterval(10*time.Millisecond),
		cache.WithNearCache(cache.NearCache{}), cache.WithAutoPipelining(registry.HalfDuplex),
		cache.WithAudit(cache.Audit{Share: 1, Grace: time.Millisecond}),
		cache.WithFailureHook(func(f cache.Failure) {
			if errors.Is(f.Err, registry.ErrUnauthorized) {
				t.Error(f.Err)
			}
		}))
	return &application{Client: c, t: t, admin: admin, other: registry.New(admin)}
}

func (a *application) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Error(err)
	}
}

func (a *application) fetch(operation, user string, params any) {
	a.t.Helper()
	_, err := cache.Fetch(a.t.Context(), a, cache.Key{Module: "users", Operation: operation, User: user, Params: params},
		func(context.Context) (string, error) { return "value", nil })
	a.must(err)
}

func (a *application) fetchMany(operation, user string) {
	a.t.Helper()
	for i := range many {
		a.fetch(operation, user, i)
	}
}

// prepare does what the operator and others do.
func (a *application) prepare() {
	a.t.Helper()
	policy := hour()
	policy.Operations = []registry.OperationPolicy{
		{Name: "list", TTL: time.Hour, StaleFor: time.Hour, NegativeTTL: time.Hour},
		{Name: "shortened", TTL: 10 * time.Hour},
	}
	applyPolicy(a.t, a.admin, "users", policy)
	a.fetchMany("shortened", "u")
	policy.Operations[1].TTL = time.Hour
	applyPolicy(a.t, a.admin, "users", policy)
	a.must(a.admin.ZAdd(a.t.Context(), "cw:{shop/users}:iu:few", redis.Z{Score: 1, Member: "4:list:3:few:expired"}).Err())

	applyPolicy(a.t, a.admin, "crowded", hour())
	_, err := a.admin.Pipelined(a.t.Context(), func(pipe redis.Pipeliner) error {
		for i := range 2000 {
			pipe.FCall(a.t.Context(), "cw_report", []string{"cw:{shop/crowded}"},
				fmt.Sprint("operation", i), "hits", 1, "misses", 1, "stale", 1, "errors", 1)
		}
		return nil
	})
	a.must(err)
}

func (a *application) doEverything() {
	a.t.Helper()
	ctx := a.t.Context()
	key := cache.Key{Module: "users", Operation: "list", User: "u", Params: 1}
	for range 2 {
		a.fetch("list", "", 1)
		a.fetch("list", "u", 1)
		a.fetch("list", "v", 1)
	}
	a.loadsThatFail()
	a.must(a.InvalidateModule(ctx, "user")) // which no policy lists
	_, err := cache.Fetch(ctx, a, cache.Key{Module: "crowded", Operation: "another"}, func(context.Context) (int, error) { return 1, nil })
	a.must(err)
	a.must(a.Set(ctx, key, "other"))
	a.must(a.Delete(ctx, key))
	for _, scope := range []cache.Scope{
		{Module: "users", Operation: "list", User: "u"}, {User: "u"}, {Module: "users", Operation: "list"}, {Module: "users"},
	} {
		a.fetch("list", "u", 1)
		a.fetch("other", "u", 1)
		a.must(a.InvalidateSoftly(ctx, scope))
		a.fetch("list", "u", 1)
	}
	a.fetch("list", "few", 1)
	a.must(a.InvalidateSoftly(ctx, cache.Scope{Module: "users", Operation: "list", User: "few"}))
	a.fetchMany("other", "u")
	if _, err := a.Stats(ctx); err != nil {
		a.t.Error(err)
	}
	if _, err := a.TTL(ctx, "users", "list"); err != nil {
		a.t.Error(err)
	}
	hold, err := a.Hold(ctx, time.Minute, key, cache.Scope{Module: "users", Operation: "list"}, cache.Scope{User: "u"})
	a.must(err)
	a.must(hold.Renew(ctx, time.Minute))
	a.fetch("list", "u", 1)
	a.must(hold.Release(ctx))
	a.must(hold.Err())
	a.must(a.InvalidateUser(ctx, "u"))
	a.must(a.InvalidateOperation(ctx, "users", "list"))
	a.fetchMany("other", "")
	a.must(a.InvalidateModule(ctx, "users"))
	NewWithT(a.t).Eventually(func() (int64, error) {
		stats, err := a.other.Stats(ctx, registry.Slot{Namespace: namespace, Module: "users"})
		return stats.Pending, err
	}).WithTimeout(waitTimeout).Should(BeZero(), "what is invalidated is not reclaimed")
}

func (a *application) loadsThatFail() {
	a.t.Helper()
	for params, want := range map[string]error{"nothing": cache.ErrNotFound, "broken": errors.New("the source is down")} {
		_, err := cache.Fetch(a.t.Context(), a, cache.Key{Module: "users", Operation: "list", Params: params},
			func(context.Context) (string, error) { return "", want })
		if !errors.Is(err, want) {
			a.t.Errorf("got %v, want %v", err, want)
		}
	}
}

// The ACL of docs/operations.md for the applications of a namespace allows all that the client
// does. It is minimal: the client calls each command that it allows.
func TestDocumentedACLSufficesForApplications(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.ApplyACL(redistest.ACLOf(t, runbook, namespace))
	applyPolicy(t, server.Client(), "users", hour())
	options := redisOptions(server.Addr())
	options.Username, options.Password, options.ReadTimeout = namespace, "secret", waitTimeout // pipelines need one
	a := newApplication(t, server.Client(), redis.NewClient(options))
	granted := server.Granted(namespace)
	called := calledWithoutTheLibrary(t)
	called.Add(calledInACluster(t))
	called.Add(calledWithAnOlderLibrary(t))
	NewWithT(t).Eventually(func() []string {
		a.prepare()
		called.Add(server.CalledBy(a.doEverything))
		return granted.Without(called)
	}).WithTimeout(waitTimeout).Should(BeEmpty(), "the ACL allows what nothing needs")
	if missing := called.Without(granted); len(missing) > 0 {
		t.Errorf("the ACL lacks %s", missing)
	}
	if refused := server.Refused(); len(refused) > 0 {
		t.Errorf("refused: %s", refused)
	}
}

// calledWithoutTheLibrary returns the commands of a client that finds no library. It checks whether
// somebody has loaded it since; it may not do so itself, and goes on without the cache until the
// operator has.
func calledWithoutTheLibrary(t *testing.T) redistest.Commands {
	t.Helper()
	server := redistest.Start(t)
	server.ApplyACL(redistest.ACLOf(t, runbook, namespace))
	options := redisOptions(server.Addr())
	options.Username, options.Password = namespace, "secret"
	c := newCache(t, redis.NewClient(options), cache.WithTimeout(waitTimeout))
	called := server.CalledBy(func() {
		if !fetchLoaded(t, c, usersGet) {
			t.Error("found an entry, without a library")
		}
	})
	applyPolicy(t, server.Client(), "users", hour())
	NewWithT(t).Eventually(func() bool { return fetchLoaded(t, c, usersGet) }).WithTimeout(waitTimeout).Should(BeFalse())
	return called
}

// calledWithAnOlderLibrary returns the commands that a library from before version 5 needs.
func calledWithAnOlderLibrary(t *testing.T) redistest.Commands {
	t.Helper()
	server, options := withOlderLibrary(t)
	c := newCache(t, redis.NewClient(options), cache.WithTimeout(waitTimeout))
	called := server.CalledBy(func() {
		fetchLoaded(t, c, usersGet)
		if err := c.Set(t.Context(), usersGet, "other"); err != nil {
			t.Error(err)
		}
	})
	if refused := server.Refused(); len(refused) != 1 || !strings.Contains(refused[0], "function|load") {
		t.Errorf("refused with an older library: %s", refused)
	}
	return called
}

// calledInACluster returns the commands by which a client finds its way in a cluster, also while a
// module moves.
func calledInACluster(t *testing.T) redistest.Commands {
	t.Helper()
	cluster := redistest.StartCluster(t, 2)
	for _, server := range cluster.Servers() {
		server.ApplyACL(redistest.ACLOf(t, runbook, namespace))
	}
	applyPolicy(t, cluster.Client(), "users", hour())
	c := newCache(t, redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: cluster.Addrs(), Username: namespace, Password: "secret", ContextTimeoutEnabled: true,
	}), cache.WithTimeout(waitTimeout))
	called := cluster.CalledBy(func() { fetchLoaded(t, c, usersGet) })
	cluster.BeginMove("cw:{shop/users}")
	called.Add(cluster.CalledBy(func() {
		if err := c.InvalidateModule(t.Context(), "users"); err != nil {
			t.Error(err)
		}
	}))
	for _, server := range cluster.Servers() {
		if refused := server.Refused(); len(refused) > 0 {
			t.Errorf("refused in a cluster: %s", refused)
		}
	}
	return called
}
