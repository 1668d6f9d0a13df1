// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache/internal/fence"
	"github.com/cachewright/cachewright/cache/internal/heads"
	"github.com/cachewright/cachewright/cache/internal/near"
	"github.com/cachewright/cachewright/registry"
)

const (
	defaultNearEntries = 10_000
	defaultNearBytes   = 64 << 20
	defaultNearAge     = time.Minute
)

// NearCache bounds a cache in the process' own memory. A field that is 0 takes its default.
type NearCache struct {
	// MaxEntries is how many entries are kept. Default 10,000.
	MaxEntries int
	// MaxBytes is how much memory they take, estimated from the size of their encoded values and
	// their keys. Default 64 MiB.
	MaxBytes int64
	// MaxAge is the time after which an entry is read from Redis again, even if nothing changed. An
	// entry is never kept past its TTL, nor past the localTTL of its operation in the policy.
	// Default 1m.
	MaxAge time.Duration
	// ByPolicy keeps only entries of operations that have a localTTL in the policy. Default: those
	// of all operations, except where the localTTL is 0.
	ByPolicy bool
}

func (n NearCache) withDefaults() NearCache {
	if n.MaxEntries == 0 {
		n.MaxEntries = defaultNearEntries
	}
	if n.MaxBytes == 0 {
		n.MaxBytes = defaultNearBytes
	}
	if n.MaxAge == 0 {
		n.MaxAge = defaultNearAge
	}
	return n
}

func (n NearCache) check() error {
	if n.MaxEntries <= 0 || n.MaxBytes <= 0 || n.MaxAge <= 0 {
		return errors.New("WithNearCache: the bounds must be more than 0, or 0 for their defaults")
	}
	return nil
}

// openNear returns the near cache, nil if the options want none.
func (c *Client) openNear(client redis.UniversalClient, guard *fence.Guard) (*near.Cache, error) {
	if c.nearCache == nil {
		return nil, nil //nolint:nilnil // a nil near cache keeps nothing
	}
	opened, err := near.New(near.Config{
		Bounds:        near.Bounds(*c.nearCache),
		Client:        client,
		Generation:    guard.Generation,
		ReadsReplicas: guard.ReadsReplicas,
		Policy:        c.currentPolicy,
		Hits:          c.reports.Hits,
		Failed:        func(err error) { c.tell("", "", err) },
		Background:    c.background,
	})
	if err != nil {
		return nil, fmt.Errorf("WithNearCache: %w", err)
	}
	return opened, nil
}

// getNear reports whether the near cache has the entry. If so, out now holds its value, or the error
// is ErrNotFound.
func (c *Client) getNear(key near.Key, out any) (found bool, err error) {
	if c.near == nil || c.outbox.Waiting() {
		return false, nil
	}
	found, negative := c.near.Get(key, out)
	if negative {
		return true, ErrNotFound
	}
	return found, nil
}

// putNear keeps what out holds after a hit. Where the entry is refreshed before its end, it is not
// kept until then, so that this process reads Redis again in time.
func (c *Client) putNear(key near.Key, entry registry.Key, out any, hit registry.Lookup, stamp heads.Stamp) {
	hit.Remaining -= c.headStart(entry.Module, entry.Operation)
	c.near.Put(key, entry.Slot, out, hit, stamp)
}
