// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/registry"
)

const (
	usersManifest = "config/samples/cachepolicy_users.yaml"
	shownUsers    = 100
	largeModule   = "catalog"
	largeKeys     = 100_000
)

var (
	users = registry.Slot{Namespace: namespace, Module: "users"}
	auth  = registry.Slot{Namespace: namespace, Module: "auth"}
)

// tell plays the story. The first step that fails ends it.
func (s *stage) tell(ctx context.Context) error {
	for i, step := range []struct {
		title string
		play  func(context.Context) error
	}{
		{"The samples are applied; the operator pushes their policies to Redis", s.applySamples},
		{"An application reads through the cache", s.readThrough},
		{"What kubectl shows", s.look},
		{"A TTL is changed with kubectl apply; the next fill obeys", s.changeTTL},
		{"One user is purged, and only that user", s.purgeUser},
		{fmt.Sprintf("A module of %d keys is purged, at once", largeKeys), s.purgeLargeModule},
		{"Redis is killed; the application continues", s.killRedis},
		{"Redis starts again, empty; the policies return", s.restartRedis},
	} {
		title(i+1, step.title)
		if err := step.play(ctx); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, step.title, err)
		}
	}
	return nil
}

func (s *stage) applySamples(ctx context.Context) error {
	for _, args := range [][]string{
		{"apply", "-n", namespace, "-k", "config/samples"},
		{"wait", "-n", namespace, "--for=condition=Ready", "cachepolicy", "--all", "--timeout=60s"},
		{"apply", "-n", namespace, "-k", "config/samples/purges"},
		{"wait", "-n", namespace, "--for=condition=Complete", "cacheinvalidation", "--all", "--timeout=60s"},
	} {
		if err := s.kubectl(ctx, args...); err != nil {
			return err
		}
	}
	return s.policyInForce(ctx, users)
}

func (s *stage) policyInForce(ctx context.Context, slot registry.Slot) error {
	return eventually(ctx, "the policy of "+slot.String()+" in Redis", func() error {
		_, found, err := s.registry.Policy(ctx, slot)
		if err == nil && !found {
			err = errNotYet
		}
		return err
	})
}

func (s *stage) readThrough(ctx context.Context) error {
	if err := s.startApp(ctx); err != nil {
		return err
	}
	readAll := func() error {
		for i := range shownUsers {
			if err := s.readUser(ctx, fmt.Sprintf("user-%d", i)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := s.wantQueries(ctx, shownUsers, fmt.Sprintf("%d users, first time", shownUsers),
		readAll); err != nil {
		return err
	}
	return s.wantQueries(ctx, 0, "the same users again", readAll)
}

func (s *stage) look(ctx context.Context) error {
	err := eventually(ctx, "the statistics in the status of the policy", func() error {
		keys, err := s.field(ctx, "cachepolicy/users", ".status.stats.keys")
		if err == nil && keys != strconv.Itoa(shownUsers) {
			err = fmt.Errorf("%w: %s keys", errNotYet, keys)
		}
		if err != nil {
			return err
		}
		ratio, err := s.field(ctx, "cachepolicy/users", ".status.stats.hitRatio")
		if err == nil && ratio != "50.0%" {
			err = fmt.Errorf("%w: hit ratio %s", errNotYet, ratio)
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.kubectl(ctx, "get", "-n", namespace, "cpol,cinv", "-o", "wide")
}

func (s *stage) changeTTL(ctx context.Context) error {
	manifest, err := os.ReadFile(filepath.Join(s.root, usersManifest))
	if err != nil {
		return err
	}
	changed := strings.Replace(string(manifest), "ttl: 300s", "ttl: 60s", 1)
	if changed == string(manifest) {
		return fmt.Errorf("%s has no ttl of 300s to change", usersManifest)
	}
	if before, err := s.remaining(ctx, "user-1"); err != nil || before <= time.Minute {
		return fmt.Errorf("an entry filled with a TTL of 300s has %s left (%w)", before, err)
	}
	say("  $ sed 's/ttl: 300s/ttl: 60s/' %s | kubectl apply -n %s -f -", usersManifest, namespace)
	if output, err := s.quietly(ctx, changed, "apply", "-n", namespace, "-f", "-"); err != nil {
		return fmt.Errorf("%w: %s", err, output)
	}
	began := time.Now()
	err = eventually(ctx, "the new TTL in Redis", func() error {
		policy, _, err := s.registry.Policy(ctx, users)
		if err == nil && policy.TTL("getById") != time.Minute {
			err = errNotYet
		}
		return err
	})
	if err != nil {
		return err
	}
	say("  ✓ in force in Redis %s after kubectl returned", time.Since(began).Round(time.Millisecond))
	if err := s.readUser(ctx, "user-500"); err != nil {
		return err
	}
	for _, id := range []string{"user-500", "user-1"} {
		left, err := s.remaining(ctx, id)
		if err != nil || left <= 0 || left > time.Minute {
			return fmt.Errorf("the entry of %s has %s left, want at most 60s (%w)", id, left, err)
		}
	}
	say("  ✓ a new entry has a TTL of 60s, and entries filled before were shortened to it")
	return nil
}

// remaining returns the remaining TTL of a user's entry in Redis.
func (s *stage) remaining(ctx context.Context, id string) (time.Duration, error) {
	params, err := cache.ID(id)
	if err != nil {
		return 0, err
	}
	lookup, err := s.registry.Lease(ctx, registry.Key{Slot: users, Operation: "getById", ID: params})
	return lookup.Remaining, err
}

func (s *stage) purgeUser(ctx context.Context) error {
	for _, id := range []string{"user-1", "user-2", "user-3"} {
		if err := s.readProfile(ctx, id); err != nil {
			return err
		}
	}
	before, err := s.keys(ctx)
	if err != nil {
		return err
	}
	name, err := s.purge(ctx, `
apiVersion: cachewright.io/v1
kind: CacheInvalidation
metadata: {generateName: user-2-}
spec:
  targets:
  - {userID: user-2}
`)
	if err != nil {
		return err
	}
	keys, err := s.field(ctx, name, ".status.keysInvalidated")
	if err != nil || keys != "1" {
		return fmt.Errorf("keysInvalidated is %q, want 1 (%w)", keys, err)
	}
	after, err := s.keys(ctx)
	if err != nil {
		return err
	}
	if after != before-1 {
		return fmt.Errorf("%d keys of the namespace before, %d after", before, after)
	}
	say("  ✓ 1 key of user-2 went, %d keys of the namespace stayed", after)
	if err := s.wantQueries(ctx, 1, "user-2 looks at the profile",
		func() error { return s.readProfile(ctx, "user-2") }); err != nil {
		return err
	}
	return s.wantQueries(ctx, 0, "user-1 and user-3 look at theirs", func() error {
		if err := s.readProfile(ctx, "user-1"); err != nil {
			return err
		}
		return s.readProfile(ctx, "user-3")
	})
}

// keys counts the entries of the application.
func (s *stage) keys(ctx context.Context) (int64, error) {
	total := int64(0)
	for _, slot := range []registry.Slot{users, auth} {
		stats, err := s.registry.Stats(ctx, slot)
		if err != nil {
			return 0, err
		}
		total += stats.Keys
	}
	return total, nil
}

// purge creates a CacheInvalidation, waits until it is complete, and returns its name.
func (s *stage) purge(ctx context.Context, manifest string) (string, error) {
	say("  $ kubectl create -n %s -f - %s", namespace, heredoc(manifest))
	output, err := s.quietly(ctx, manifest, "create", "-n", namespace, "-o", "name", "-f", "-")
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, output)
	}
	name := strings.TrimSpace(output)
	return name, s.kubectl(ctx, "wait", "-n", namespace, "--for=condition=Complete", name,
		"--timeout=60s")
}

func (s *stage) purgeLargeModule(ctx context.Context) error {
	manifest := fmt.Sprintf(`
apiVersion: cachewright.io/v1
kind: CachePolicy
metadata: {name: %[1]s}
spec: {module: %[1]s, defaultTTL: 1h}
`, largeModule)
	if err := s.kubectlWith(ctx, manifest, "apply", "-n", namespace, "-f", "-"); err != nil {
		return err
	}
	slot := registry.Slot{Namespace: namespace, Module: largeModule}
	if err := s.policyInForce(ctx, slot); err != nil {
		return err
	}
	began := time.Now()
	if err := s.fillLargeModule(ctx, slot); err != nil {
		return err
	}
	say("  … %d keys filled in %s", largeKeys, time.Since(began).Round(100*time.Millisecond))
	name, err := s.purge(ctx, fmt.Sprintf(`
apiVersion: cachewright.io/v1
kind: CacheInvalidation
metadata: {generateName: catalog-}
spec:
  targets:
  - {module: %s}
`, largeModule))
	if err != nil {
		return err
	}
	if err := s.kubectl(ctx, "get", "-n", namespace, name, "-o", "wide"); err != nil {
		return err
	}
	for field, want := range map[string]string{
		".status.keysInvalidated": strconv.Itoa(largeKeys),
		".status.keysReclaimed":   strconv.Itoa(largeKeys),
	} {
		if got, err := s.field(ctx, name, field); err != nil || got != want {
			return fmt.Errorf("%s is %q, want %s (%w)", field, got, want, err)
		}
	}
	spent, err := s.field(ctx, name, ".status.duration")
	if err != nil {
		return err
	}
	say("  ✓ in effect within %s; the memory of %d keys was freed after that", spent, largeKeys)
	return nil
}

func (s *stage) fillLargeModule(ctx context.Context, slot registry.Slot) error {
	const workers = 32
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range workers {
		group.Go(func() error {
			for i := next.Add(1); i <= largeKeys; i = next.Add(1) {
				key := registry.Key{Slot: slot, Operation: "item", ID: strconv.FormatInt(i, 10)}
				lookup, err := s.registry.Lease(ctx, key)
				if err != nil {
					return err
				}
				filled, err := s.registry.Set(ctx, key, []byte("an item of the catalog"), lookup.Token)
				if err != nil || filled.Outcome != registry.Stored {
					return fmt.Errorf("a fill was %s (%w)", filled.Outcome, err)
				}
			}
			return nil
		})
	}
	return group.Wait()
}

func (s *stage) killRedis(ctx context.Context) error {
	s.redis.Kill()
	say("  $ kill -9 <redis-server>")
	var slowest time.Duration
	err := s.wantQueries(ctx, 10, "10 users, from the source", func() error {
		for i := range 10 {
			began := time.Now()
			if err := s.readUser(ctx, fmt.Sprintf("user-%d", i)); err != nil {
				return err
			}
			slowest = max(slowest, time.Since(began))
		}
		return nil
	})
	if err != nil {
		return err
	}
	say("  ✓ no request failed; the slowest took %s, of which the source takes 20ms",
		slowest.Round(time.Millisecond))
	return s.kubectl(ctx, "wait", "-n", namespace, "--for=condition=Ready=false", "cachepolicy/users",
		"--timeout=60s")
}

func (s *stage) restartRedis(ctx context.Context) error {
	s.redis.Restart()
	say("  $ redis-server")
	began := time.Now()
	for _, module := range []string{"users", "auth", "posts", largeModule} {
		if err := s.policyInForce(ctx, registry.Slot{Namespace: namespace, Module: module}); err != nil {
			return err
		}
	}
	say("  ✓ all policies are back %s after Redis", time.Since(began).Round(100*time.Millisecond))
	if err := s.kubectl(ctx, "wait", "-n", namespace, "--for=condition=Ready", "cachepolicy", "--all",
		"--timeout=60s"); err != nil {
		return err
	}
	err := eventually(ctx, "the application to use the cache again", func() error {
		queries, err := s.queriesOf(ctx, func() error { return s.readUser(ctx, "user-42") })
		if err == nil && queries > 0 {
			err = errNotYet
		}
		return err
	})
	if err != nil {
		return err
	}
	say("  ✓ the application caches again")
	return nil
}

func (s *stage) explainHowToGoOn() {
	say(`
All of it is still running. In another terminal:

  export KUBECONFIG=%s PATH=%s:$PATH
  kubectl get cpol,cinv -n %s -o wide
  kubectl explain cachepolicy.spec.operations
  kubectl create -n %s -f config/samples/purges/cacheinvalidation_module.yaml
  redis-cli -p %s FCALL_RO cw_stats 1 'cw:{%s/users}'
  curl %s/users/user-7
  curl -H 'X-User: user-7' %s/profile
  tail -f %s

Ctrl-C ends it.`,
		s.kubeconfig, filepath.Dir(s.kubectlPath), namespace, namespace,
		s.redis.Addr()[strings.LastIndex(s.redis.Addr(), ":")+1:], namespace, s.appURL, s.appURL,
		filepath.Join(s.dir, "operator.log"))
}
