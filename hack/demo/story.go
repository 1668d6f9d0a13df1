// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strconv"

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
	posts = registry.Slot{Namespace: namespace, Module: "posts"}
)

// step is a part of the story.
type step struct {
	title string
	play  func(context.Context) error
	// proved is what is true if the step succeeds.
	proved string
}

func (s *stage) steps() []step {
	return []step{
		{
			"The samples are applied; the operator pushes their policies to Redis", s.applySamples,
			"A policy is in force in Redis when kubectl says that it is ready.",
		},
		{
			"A slow loader meets a purge", s.race,
			"A load that began before a purge is never stored after it.",
		},
		{
			"An application reads through the cache", s.readThrough,
			"What was read once is read from Redis.",
		},
		{"What kubectl shows", s.look, "Keys and hit ratio are in the status of the policy."},
		{
			"A TTL is changed with kubectl apply; the next fill obeys", s.changeTTL,
			"No application is deployed to change a TTL.",
		},
		{
			"One user is purged, and only that user", s.purgeUser,
			"A purge takes what it names, and nothing else.",
		},
		{
			"A revision in Git purges a module", s.purgeByRevision,
			"Each change of the revision purges the module once.",
		},
		{"A purge is counted before it is made", s.dryRun, "A dry run counts, and changes nothing."},
		{
			"Nothing is cached while an import runs", s.hold,
			"What is held is loaded, and cached again after the hold.",
		},
		{
			fmt.Sprintf("A module of %d keys is purged, at once", largeKeys), s.purgeLargeModule,
			"A purge takes as long for 100,000 keys as for one.",
		},
		{
			"A team brings a Redis of its own", s.ownStore,
			"The policies of a store are in that store alone.",
		},
		{
			"kill -9 between COMMIT and invalidation", s.killWriters,
			"A writer that dies leaves nothing stale behind.",
		},
		{
			"Redis is killed; the application continues", s.killRedis,
			"A cache that fails breaks no application.",
		},
		{
			"Redis starts again, empty; the policies return", s.restartRedis,
			"An empty Redis is served again within seconds.",
		},
	}
}

// tell plays the story, and sums it up. The first step that fails ends it.
func (s *stage) tell(ctx context.Context) error {
	steps := s.steps()
	for i, step := range steps {
		title(i+1, step.title)
		if err := step.play(ctx); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, step.title, err)
		}
	}
	say("\n%s", bold("What was proved"))
	for i, step := range steps {
		say("%4d. %s", i+1, step.proved)
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
