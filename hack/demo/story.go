// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

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
		{"kill -9 between COMMIT and invalidation", s.killWriters},
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
		{
			"wait", "-n", namespace, "--for=condition=Complete", "cacheinvalidation", "--all",
			"--timeout=60s",
		},
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
