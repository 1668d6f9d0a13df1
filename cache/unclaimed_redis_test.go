// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

const (
	noSuchModule    = `module "user" of namespace "shop" has no CachePolicy: nothing is cached. Policies there: posts, users`
	noSuchOperation = `operation "lst" of module "posts" of namespace "shop" is not in the CachePolicy, which has no defaultTTL: it is not cached. Operations there: list`
)

// reader sees what the log and the failure hook get.
type reader struct {
	mu     sync.Mutex
	log    bytes.Buffer
	hooked []error
}

func (w *reader) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(p)
}

func (w *reader) hook(f cache.Failure) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hooked = append(w.hooked, f.Err)
}

func (w *reader) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

// unclaimed returns what the hook got of names that no policy lists, and other failures.
func (w *reader) unclaimed() (sentences []string, others []error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, err := range w.hooked {
		if errors.Is(err, cache.ErrUnclaimed) {
			sentences = append(sentences, err.Error())
		} else {
			others = append(others, err)
		}
	}
	slices.Sort(sentences)
	return sentences, others
}

// misspelling is an application with two names that no policy lists.
type misspelling struct {
	*cache.Client
	*reader
	t *testing.T
}

func newMisspelling(t *testing.T, admin, client redis.UniversalClient) *misspelling {
	t.Helper()
	applyPolicy(t, admin, "users", hour())
	applyPolicy(t, admin, "posts", registry.Policy{Operations: []registry.OperationPolicy{{Name: "list", TTL: time.Hour}}})
	w := &reader{}
	c := newCache(t, client, cache.WithTimeout(waitTimeout), cache.WithReportInterval(10*time.Millisecond),
		cache.WithLogger(slog.New(slog.NewTextHandler(w, nil))), cache.WithFailureHook(w.hook))
	return &misspelling{c, w, t}
}

// use uses both names by every verb, and names that policies list.
func (m *misspelling) use() {
	m.t.Helper()
	ctx := m.t.Context()
	for _, key := range []cache.Key{{Module: "user", Operation: "get"}, {Module: "posts", Operation: "lst"}, {Module: "users", Operation: "any"}, {Module: "posts", Operation: "list"}} {
		if _, err := cache.Fetch(ctx, m, key, func(context.Context) (int, error) { return 1, nil }); err != nil {
			m.t.Error(err)
		}
		var out int
		_, getErr := m.Get(ctx, key, &out)
		if err := errors.Join(getErr, m.Set(ctx, key, 1), m.Delete(ctx, key), m.InvalidateOperation(ctx, key.Module, key.Operation)); err != nil {
			m.t.Error(err)
		}
	}
	err := errors.Join(m.InvalidateModule(ctx, "user"), m.InvalidateSoftly(ctx, cache.Scope{Module: "user"}), m.InvalidateUser(ctx, "u"), m.InvalidateUser(ctx, "u", "user"))
	if err != nil {
		m.t.Error(err)
	}
}

// unclaimedNames returns what clients reported, without ages.
func unclaimedNames(t *testing.T, client redis.UniversalClient) []registry.Unclaimed {
	t.Helper()
	names, err := registry.New(client).Unclaimed(t.Context(), namespace)
	if err != nil {
		t.Fatal(err)
	}
	for i := range names {
		names[i].Age = 0
	}
	return names
}

func (m *misspelling) wantToldAndReported(admin redis.UniversalClient) {
	m.t.Helper()
	m.use()
	NewWithT(m.t).Eventually(func() []registry.Unclaimed { return unclaimedNames(m.t, admin) }).WithTimeout(waitTimeout).Should(Equal([]registry.Unclaimed{
		{Module: "posts", Operation: "lst", Reads: 3, Invalidations: 2}, {Module: "user", Reads: 3, Invalidations: 5},
	}))
	m.use()
	NewWithT(m.t).Eventually(func() []registry.Unclaimed { return unclaimedNames(m.t, admin) }).WithTimeout(waitTimeout).Should(Equal([]registry.Unclaimed{
		{Module: "posts", Operation: "lst", Reads: 6, Invalidations: 4}, {Module: "user", Reads: 6, Invalidations: 10},
	}))
	if sentences, others := m.unclaimed(); !slices.Equal(sentences, []string{noSuchModule, noSuchOperation}) || len(others) > 0 {
		m.t.Errorf("the hook got %q and %v", sentences, others)
	}
	for _, sentence := range []string{noSuchModule, noSuchOperation} {
		if strings.Count(m.text(), strings.ReplaceAll(sentence, `"`, `\"`)) != 1 {
			m.t.Errorf("%s is not in the log once: %s", sentence, m.text())
		}
	}
}

// A misspelled name is told once, and reported for the operator.
func TestNamesThatNoPolicyListsAreToldAndReported(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	newMisspelling(t, server.Client(), redis.NewClient(redisOptions(server.Addr()))).wantToldAndReported(server.Client())
}

func TestNamesThatNoPolicyListsAreToldAndReportedInACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs(), ContextTimeoutEnabled: true})
	newMisspelling(t, cluster.Client(), client).wantToldAndReported(cluster.Client())
}

func TestNamesThatNoPolicyListsAreToldAndReportedByATenant(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.ApplyACL(redistest.ACLOf(t, runbook, namespace))
	options := redisOptions(server.Addr())
	options.Username, options.Password = namespace, "secret"
	newMisspelling(t, server.Client(), redis.NewClient(options)).wantToldAndReported(server.Client())
	if refused := server.Refused(); len(refused) > 0 {
		t.Errorf("refused: %s", refused)
	}
}

// A Redis user with the ACL of an earlier version, or an earlier library, takes no reports. The
// application goes on, and the name is told all the same.
func TestReportsOfNamesThatAreRefusedDisturbNobody(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, server *redistest.Server){
		"an ACL without the key": func(_ *testing.T, server *redistest.Server) {
			server.ApplyACL([]string{"ACL SETUSER shop resetkeys ~cw:{shop/* %R~cw:{shop}:modules"})
		},
		"an older library": func(t *testing.T, server *redistest.Server) {
			t.Helper()
			older := strings.Replace(registry.Library, "register('cw_unclaimed'", "register('cw_another'", 1)
			if err := server.Client().FunctionLoadReplace(t.Context(), older).Err(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			server.ApplyACL(redistest.ACLOf(t, runbook, namespace))
			options := redisOptions(server.Addr())
			options.Username, options.Password = namespace, "secret"
			m := newMisspelling(t, server.Client(), redis.NewClient(options))
			spoil(t, server)
			for range 3 {
				m.use()
				NewWithT(t).Eventually(m.text).WithTimeout(waitTimeout).Should(And(ContainSubstring("not reported to the operator"), ContainSubstring("has no CachePolicy")))
			}
			fetchLoaded(t, m, usersGet)
			if fetchLoaded(t, m, usersGet) {
				t.Error("what has a policy is not cached")
			}
			if err := m.Close(t.Context()); err != nil {
				t.Error(err)
			}
			sentences, others := m.unclaimed()
			if len(sentences) != 2 || len(others) > 0 || strings.Count(m.text(), "\n") != 3 {
				t.Errorf("the hook got %q and %v, the log %s", sentences, others, m.text())
			}
		})
	}
}
