// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package patterns

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/internal/pages"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

const page = "../../docs/how-to/patterns.md"

// step is a call of the service, and how often the database must be asked for it.
type step struct {
	name  string
	call  func(context.Context, *Service) error
	asked int
}

func post(id string) func(context.Context, *Service) error {
	return func(ctx context.Context, s *Service) error { _, err := s.Post(ctx, id); return err }
}

func list(ctx context.Context, s *Service) error {
	_, err := s.ByAuthor(ctx, "ada", 1)
	return err
}

func drafts(user string) func(context.Context, *Service) error {
	return func(ctx context.Context, s *Service) error { _, err := s.Drafts(ctx, user); return err }
}

func saved(id string, save func(*Service, context.Context, Post) error) func(context.Context, *Service) error {
	return func(ctx context.Context, s *Service) error {
		return save(s, ctx, Post{ID: id, Author: "ada", Title: "Changed"})
	}
}

// patterns lists what the page says of each pattern, as calls one after the other.
var patterns = map[string][]step{
	"one entry": {{"first", post("1"), 1}, {"again", post("1"), 0}},
	"many entries": {
		{"one of them", post("1"), 1},
		{"many", func(ctx context.Context, s *Service) error {
			posts, err := s.Posts(ctx, []string{"1", "2", "3", "none"})
			if len(posts) != 3 {
				return os.ErrInvalid
			}
			return err
		}, 1},
		{"another of them", post("3"), 0},
	},
	"entries of users": {
		{"ada", drafts("ada"), 1},
		{"bob", drafts("bob"), 1},
		{"forget ada", func(ctx context.Context, s *Service) error { return s.Forget(ctx, "ada") }, 0},
		{"bob again", drafts("bob"), 0},
		{"ada again", drafts("ada"), 1},
	},
	"invalidate after a write": {
		{"post", post("1"), 1},
		{"another", post("2"), 1},
		{"list", list, 1},
		{"save", saved("1", (*Service).Save), 0},
		{"post again", post("1"), 1},
		{"another again", post("2"), 0},
		{"list again", list, 1},
	},
	"with a hold": {
		{"post", post("1"), 1},
		{"list", list, 1},
		{"save", saved("1", (*Service).SaveHeld), 0},
		{"post again", post("1"), 1},
		{"and cached", post("1"), 0},
		{"list again", list, 1},
	},
	"in bulk": {
		{"post", post("1"), 1},
		{"list", list, 1},
		{"import", func(ctx context.Context, s *Service) error {
			return s.Import(ctx, []Post{{ID: "1", Author: "bob"}})
		}, 0},
		{"post again", post("1"), 1},
		{"list again", list, 1},
	},
}

func TestEachPatternDoesWhatThePageSays(t *testing.T) {
	for name, steps := range patterns {
		t.Run(name, func(t *testing.T) {
			for kind, c := range caches(t) {
				source := newDatabase()
				service := New(c, source)
				for _, step := range steps {
					if err := step.call(t.Context(), service); err != nil {
						t.Fatalf("%s, %s: %v", kind, step.name, err)
					}
					if asked := source.asked(); asked != step.asked {
						t.Errorf("%s, %s: the database was asked %d times, want %d", kind, step.name, asked, step.asked)
					}
				}
			}
		})
	}
}

func TestWhatDoesNotExistIsRemembered(t *testing.T) {
	for kind, c := range caches(t) {
		source := newDatabase()
		service := New(c, source)
		for range 3 {
			if _, err := service.Post(t.Context(), "none"); err == nil {
				t.Errorf("%s: there is such a post", kind)
			}
		}
		if asked := source.asked(); asked != 1 {
			t.Errorf("%s: the database was asked %d times, want once", kind, asked)
		}
	}
}

func TestAValueMayEndBeforeItsPolicySays(t *testing.T) {
	for kind, c := range caches(t) {
		source := newDatabase()
		service := New(c, source)
		for range 2 {
			if _, err := service.Rate(t.Context(), "EUR"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond) // longer than the value is valid
		}
		if asked := source.asked(); asked != 2 {
			t.Errorf("%s: the database was asked %d times, want twice", kind, asked)
		}
	}
}

func TestAfterASoftInvalidationTheFormerListIsServed(t *testing.T) {
	for kind, c := range caches(t) {
		source := newDatabase()
		service := New(c, source)
		before, err := service.ByAuthor(t.Context(), "ada", 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := service.SavePatiently(t.Context(), Post{ID: "1", Author: "bob"}); err != nil {
			t.Fatal(err)
		}
		after, err := service.ByAuthor(t.Context(), "ada", 1)
		if err != nil || len(after) != len(before) {
			t.Errorf("%s: the list has %d posts at once, want the former %d (%v)", kind, len(after), len(before), err)
		}
		for len(after) == len(before) { // until the test's own time is over
			time.Sleep(10 * time.Millisecond)
			if after, err = service.ByAuthor(t.Context(), "ada", 1); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestOptionsAreTaken(t *testing.T) {
	nameRedis(t)
	c, err := Open("shop")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// caches returns a Client over Redis, and the Fake by the policy of the page.
func caches(t *testing.T) map[string]Cache {
	t.Helper()
	return map[string]Cache{"Redis": newClient(t), "fake": newFake(t)}
}

// nameRedis starts a Redis, and names it in the environment.
func nameRedis(t *testing.T) {
	t.Helper()
	host, port, err := net.SplitHostPort(redistest.Start(t).Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("REDIS_HOST", host)
	t.Setenv("REDIS_PORT", port)
}

func connect(t *testing.T) redis.UniversalClient {
	t.Helper()
	nameRedis(t)
	connection, err := registry.ClientFromEnv(os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return connection
}

func newClient(t *testing.T) *cache.Client {
	t.Helper()
	connection := connect(t)
	store := registry.New(connection)
	if _, err := store.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	for module, policy := range map[string]registry.Policy{
		"posts": {Operations: []registry.OperationPolicy{
			{Name: "getById", TTL: 10 * time.Minute, NegativeTTL: 30 * time.Second},
			{Name: "list", TTL: 2 * time.Minute, StaleFor: time.Minute},
			{Name: "drafts", TTL: 10 * time.Minute, Scope: registry.ScopeUser},
		}},
		"rates": {DefaultTTL: new(time.Minute)},
	} {
		slot := registry.Slot{Namespace: "shop", Module: module}
		if _, err := store.ApplyPolicy(t.Context(), slot, policy); err != nil {
			t.Fatal(err)
		}
	}
	c, err := cache.New(connection, "shop", cache.WithTimeout(20*time.Second)) // machines are busy
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.WithoutCancel(t.Context())) })
	return c
}

func blocksOf(t *testing.T, language string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return pages.BlocksIn(language, string(text))
}

func newFake(t *testing.T) *cachetest.Fake {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(blocksOf(t, "yaml")[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	fake := cachetest.FromManifests(t, file)
	fake.SetPolicy("rates", registry.Policy{DefaultTTL: new(time.Minute)})
	return fake
}

// The page shows the code that these tests run.
func TestThePageShowsThisCode(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		code.Write(text)
	}
	shown := blocksOf(t, "go")
	for _, block := range shown {
		if !strings.Contains(code.String(), block) {
			t.Errorf("no file of this package has\n%s", block)
		}
	}
	if len(shown) < 10 {
		t.Errorf("found %d blocks, the page has more", len(shown))
	}
}
