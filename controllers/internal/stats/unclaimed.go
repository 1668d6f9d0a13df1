// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"context"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/registry"
)

// UnclaimedCollector reads the names that applications use in a store and no policy lists, as
// clients reported them. It is safe for concurrent use.
type UnclaimedCollector struct {
	UnclaimedConfig

	names latest[Unclaimed]
}

// UnclaimedConfig is what an UnclaimedCollector needs. All fields are required.
type UnclaimedConfig struct {
	Referrers resource.Referrers
	Snapshot  *Snapshot
	Clock     clock.PassiveClock
	// Interval between two reads.
	Interval time.Duration
}

// Unclaimed are the names in a CacheStore that no policy lists, in the form of its status, sorted.
type Unclaimed struct{ Names []string }

// UnclaimedReader reads names; *registry.Registry is one.
type UnclaimedReader interface {
	UnclaimedOf(ctx context.Context, namespaces []string) ([][]registry.Unclaimed, error)
}

// Last returns the names of a CacheStore as last read. It returns nil before that, and for the
// operator's own store, which serves many namespaces.
func (c *UnclaimedCollector) Last() *Unclaimed { return c.names.get() }

// Reset forgets the names: they may be those of another Redis.
func (c *UnclaimedCollector) Reset() { c.names.reset() }

// Drop deletes the store's names from the snapshot. A read that still runs writes none.
func (c *UnclaimedCollector) Drop() {
	c.names.drop(func() { c.Snapshot.ReplaceUnclaimed(c.Referrers.Store, nil) })
}

// Collect reads the names when that is due. Those of a namespace that fails are left out, and its
// error is returned.
func (c *UnclaimedCollector) Collect(ctx context.Context, store UnclaimedReader) error {
	now := c.Clock.Now()
	if !c.names.isDue(now) {
		return nil
	}
	policies, err := c.Referrers.Policies(ctx)
	if err != nil {
		return err
	}
	namespaces := c.namespaces(policies)
	found, err := store.UnclaimedOf(ctx, namespaces)
	broken := registry.SlotErrors{}
	if err := broken.Take(err); err != nil {
		return err
	}
	read := c.count(namespaces, found, broken, policies)
	c.names.record(read.names, now.Add(wait.Jitter(c.Interval, Jitter)), func() {
		c.Snapshot.ReplaceUnclaimed(c.Referrers.Store, read.counts)
	})
	return broken.OrNil()
}

// namespaces are those that the store serves: the namespace of a CacheStore, or those with a policy
// in the operator's own Redis.
func (c *UnclaimedCollector) namespaces(policies []v1.CachePolicy) []string {
	if c.Referrers.Store != resource.DefaultStore {
		return []string{c.Referrers.Store.Namespace}
	}
	return slices.Sorted(maps.Keys(resource.GovernedModules(policies)))
}

// reading is what a read found.
type reading struct {
	counts map[string]int // by namespace
	names  *Unclaimed     // of a CacheStore; nil: they could not be read
}

func (c *UnclaimedCollector) count(
	namespaces []string, found [][]registry.Unclaimed, broken registry.SlotErrors,
	policies []v1.CachePolicy,
) reading {
	read := reading{counts: map[string]int{}}
	for i, namespace := range namespaces {
		if broken[registry.Slot{Namespace: namespace}] != nil {
			continue
		}
		names := unlisted(namespace, found[i], policies)
		read.counts[namespace] = len(names)
		if c.Referrers.Store != resource.DefaultStore {
			read.names = &Unclaimed{Names: names}
		}
	}
	return read
}

// unlisted are the names of a namespace that no policy lists by now. Redis keeps each for a day.
func unlisted(namespace string, names []registry.Unclaimed, policies []v1.CachePolicy) []string {
	var left []string
	for _, name := range names {
		if !slices.ContainsFunc(policies, func(policy v1.CachePolicy) bool {
			return policy.DeletionTimestamp.IsZero() && policy.Namespace == namespace &&
				policy.Spec.Module == name.Module && convert.Lists(&policy.Spec, name)
		}) {
			left = append(left, convert.UnclaimedName(name))
		}
	}
	slices.Sort(left)
	return left
}
