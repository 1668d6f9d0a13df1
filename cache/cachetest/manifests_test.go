// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/registry"
)

// attempt is a test that may fail.
type attempt struct {
	testing.TB

	errors   []string
	fatal    string
	cleanups []func()
}

type ended struct{}

func (a *attempt) Helper()          {}
func (a *attempt) Cleanup(f func()) { a.cleanups = append(a.cleanups, f) }
func (a *attempt) Errorf(format string, args ...any) {
	a.errors = append(a.errors, fmt.Sprintf(format, args...))
}

func (a *attempt) Fatalf(format string, args ...any) {
	a.fatal = fmt.Sprintf(format, args...)
	panic(ended{})
}

// try runs a test in a folder with these files.
func try(t *testing.T, files map[string]string, test func(a *attempt)) *attempt {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	a := &attempt{}
	func() {
		defer func() {
			if value := recover(); value != nil && value != (ended{}) {
				panic(value)
			}
		}()
		test(a)
	}()
	return a
}

const twoPolicies = `# of the shop
apiVersion: cachewright.io/v1
kind: CachePolicy
metadata: {name: users}
spec:
  module: users
  operations:
  - {name: list, ttl: 3m}
  - {name: create, ttl: 0s}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
data: {module: hidden}
---
apiVersion: cachewright.io/v1
kind: CachePolicy
metadata: {name: posts}
spec: {module: posts, defaultTTL: 5m}
`

func fetchValue(t *testing.T, c cache.Cache, module, operation string) {
	t.Helper()
	if _, err := cache.Fetch(t.Context(), c, cache.Key{Module: module, Operation: operation}, func(context.Context) (int, error) { return 1, nil }); err != nil {
		t.Error(err)
	}
}

func TestManifestsAreInForce(t *testing.T) {
	a := try(t, map[string]string{"cache.yaml": twoPolicies, "kustomization.yaml": "resources: [cache.yaml]\n"}, func(a *attempt) {
		fake := cachetest.FromManifests(a, "*.yaml")
		for _, name := range [][2]string{{"users", "list"}, {"users", "create"}, {"posts", "any"}} {
			fetchValue(t, fake, name[0], name[1])
		}
		for name, want := range map[[2]string]time.Duration{{"users", "list"}: 3 * time.Minute, {"users", "create"}: 0, {"posts", "any"}: 5 * time.Minute} {
			if ttl, err := fake.TTL(t.Context(), name[0], name[1]); err != nil || ttl != want {
				t.Errorf("%v: the TTL is %s (%v), want %s", name, ttl, err, want)
			}
		}
		if err := errors.Join(fake.InvalidateModule(t.Context(), "users"), fake.InvalidateUser(t.Context(), "u"), fake.InvalidateUser(t.Context(), "u", "posts")); err != nil {
			t.Error(err)
		}
		fake.SetPolicy("late", registry.Policy{})
		if err := fake.InvalidateModule(t.Context(), "late"); err != nil {
			t.Error(err)
		}
	})
	if len(a.errors) > 0 || a.fatal != "" {
		t.Errorf("the test failed: %q, %s", a.errors, a.fatal)
	}
}

// Each verb that names a module finds a name that no manifest lists.
func TestANameThatNoManifestListsFailsTheTestOnce(t *testing.T) {
	const (
		module    = `cachetest: module "user" has no CachePolicy in *.yaml: nothing is cached. Policies there: posts, users (used at manifests_test.go:`
		operation = `cachetest: operation "lst" of module "users" is not in its CachePolicy in *.yaml, which has no defaultTTL: it is not cached. Operations there: create, list (used at manifests_test.go:`
	)
	var out int
	for name, use := range map[string]func(context.Context, cache.Cache, cache.Key) error{
		"Fetch": func(ctx context.Context, c cache.Cache, key cache.Key) error {
			_, err := cache.Fetch(ctx, c, key, func(context.Context) (int, error) { return 1, nil })
			return err
		},
		"Get": func(ctx context.Context, c cache.Cache, key cache.Key) error {
			_, err := c.Get(ctx, key, &out)
			return err
		},
		"Set":    func(ctx context.Context, c cache.Cache, key cache.Key) error { return c.Set(ctx, key, 1) },
		"Delete": func(ctx context.Context, c cache.Cache, key cache.Key) error { return c.Delete(ctx, key) },
		"TTL": func(ctx context.Context, c cache.Cache, key cache.Key) error {
			_, err := c.TTL(ctx, key.Module, key.Operation)
			return err
		},
		"InvalidateOperation": func(ctx context.Context, c cache.Cache, key cache.Key) error {
			return c.InvalidateOperation(ctx, key.Module, key.Operation)
		},
		"InvalidateSoftly": func(ctx context.Context, c cache.Cache, key cache.Key) error {
			return c.InvalidateSoftly(ctx, cache.Scope{Module: key.Module, Operation: key.Operation})
		},
		"InvalidateModule": func(ctx context.Context, c cache.Cache, key cache.Key) error {
			return c.InvalidateModule(ctx, key.Module)
		},
		"InvalidateUser": func(ctx context.Context, c cache.Cache, key cache.Key) error {
			return c.InvalidateUser(ctx, "u", "posts", key.Module)
		},
		"Hold of an entry": func(ctx context.Context, c cache.Cache, key cache.Key) error {
			_, err := c.(cache.Holder).Hold(ctx, time.Minute, key)
			return err
		},
		"Hold of an operation": func(ctx context.Context, c cache.Cache, key cache.Key) error {
			_, err := c.(cache.Holder).Hold(ctx, time.Minute, cache.Scope{Module: key.Module, Operation: key.Operation})
			return err
		},
		"Stats": func(ctx context.Context, c cache.Cache, key cache.Key) error {
			_, err := c.Stats(ctx, key.Module)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := try(t, map[string]string{"cache.yaml": twoPolicies}, func(a *attempt) {
				fake := cachetest.FromManifests(a, "*.yaml")
				for _, key := range []cache.Key{{Module: "user", Operation: "list"}, {Module: "user", Operation: "get"}, {Module: "users", Operation: "lst"}, {Module: "users", Operation: "list"}} {
					for range 2 {
						if err := use(t.Context(), fake, key); err != nil {
							t.Error(err)
						}
					}
				}
			})
			want := []string{module}
			if !slices.Contains([]string{"InvalidateModule", "InvalidateUser", "Stats"}, name) {
				want = append(want, operation)
			}
			if len(a.errors) != len(want) {
				t.Fatalf("got %q", a.errors)
			}
			for i := range want {
				if !strings.HasPrefix(a.errors[i], want[i]) {
					t.Errorf("got %q, want %q", a.errors[i], want[i])
				}
			}
		})
	}
}

// A goroutine of the application may outlive the test. To fail that then would end the process.
func TestAnEndedTestFailsNoMore(t *testing.T) {
	a := try(t, map[string]string{"cache.yaml": twoPolicies}, func(a *attempt) {
		fake := cachetest.FromManifests(a, "cache.yaml")
		for _, cleanup := range a.cleanups {
			cleanup()
		}
		fetchValue(t, fake, "user", "list")
	})
	if len(a.errors) > 0 {
		t.Errorf("failed with %q", a.errors)
	}
}

func TestManifestsThatCannotBeUsedFailTheTest(t *testing.T) {
	const users = "apiVersion: cachewright.io/v1\nkind: CachePolicy\nmetadata: {name: users}\nspec: {module: users, "
	for name, test := range map[string]struct {
		files map[string]string
		globs []string
		want  string
	}{
		"no glob":         {nil, nil, "name the files with CachePolicy manifests"},
		"no file":         {nil, []string{"deploy/*.yaml"}, "deploy/*.yaml matches no file"},
		"one glob of two": {map[string]string{"a.yaml": users + "defaultTTL: 5m}"}, []string{"a.yaml", "b*.yaml"}, "b*.yaml matches no file"},
		"a bad glob":      {nil, []string{"["}, "syntax error in pattern"},
		"a folder":        {nil, []string{"."}, "is a directory"},
		"no policy":       {map[string]string{"a.yaml": "kind: ConfigMap\napiVersion: v1\n", "b.yaml": ""}, []string{"*.yaml"}, "there is no CachePolicy in a.yaml, b.yaml"},
		"no YAML":         {map[string]string{"a.yaml": "kind: {{ .Values.kind }"}, []string{"*.yaml"}, "a.yaml: document 1: "},
		"a bad field": {
			map[string]string{"a.yaml": "---\n" + users + "defaultttl: 5m}"},
			[]string{"*.yaml"},
			"a.yaml: document 1: CachePolicy users: spec.defaultttl: there is no such field",
		},
		"a bad value": {
			map[string]string{"a.yaml": "kind: Secret\n---\n" + users + "operations: [{name: list, ttl: 5 minutes}]}"},
			[]string{"*.yaml"},
			"a.yaml: document 2: CachePolicy users: spec.operations[0].ttl: must be a duration from 0s to 720h, for example 300s, 5m or 1h30m, not \"5 minutes\"",
		},
		"two environments": {
			map[string]string{"a.yaml": users + "defaultTTL: 5m}", "b.yaml": users + "defaultTTL: 6m}"},
			[]string{"*.yaml"},
			`a.yaml and b.yaml have different policies for module "users"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := try(t, test.files, func(a *attempt) { cachetest.FromManifests(a, test.globs...) })
			if !strings.Contains(a.fatal, test.want) {
				t.Errorf("got %q, want %q", a.fatal, test.want)
			}
		})
	}
	same := map[string]string{"a.yaml": users + "defaultTTL: 5m}", "b.yaml": users + "defaultTTL: 300s}"}
	if a := try(t, same, func(a *attempt) { cachetest.FromManifests(a, "*.yaml", "a.yaml") }); a.fatal != "" {
		t.Errorf("the same policy twice: %s", a.fatal)
	}
}

// Tests of applications need no module of Kubernetes but its YAML.
func TestTheFakeNeedsLittle(t *testing.T) {
	deps, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.Lines(string(deps)) {
		dep = strings.TrimSpace(dep)
		if dep != "sigs.k8s.io/yaml" && (strings.HasPrefix(dep, "k8s.io/") || strings.HasPrefix(dep, "sigs.k8s.io/")) {
			t.Errorf("it needs %s", dep)
		}
	}
}
