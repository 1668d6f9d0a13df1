// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package near keeps values that were read from Redis in the process' memory, decoded. It serves a
// value only while it and the heads that cover it are known not to have changed (package heads).
package near

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache/internal/background"
	"github.com/cachewright/cachewright/cache/internal/dest"
	"github.com/cachewright/cachewright/cache/internal/heads"
	"github.com/cachewright/cachewright/registry"
)

// entryOverhead is about what an entry takes besides its value and its key, in bytes.
const entryOverhead = 512

// Config says how a Cache follows Redis, and whom it informs.
type Config struct {
	Bounds Bounds // without zeros
	// Client reads from primaries. See heads.Supports.
	Client redis.UniversalClient
	// Generation changes each time another incarnation of Redis may answer reads.
	Generation func() uint64
	// ReadsReplicas reports whether connections of the client lead to replicas.
	ReadsReplicas func() bool
	// Policy reads the policy of a module, the zero one if there is none.
	Policy func(context.Context, registry.Slot) (registry.Policy, error)
	// Hits returns the counter of an operation's hits.
	Hits func(module, operation string) *atomic.Int64
	// Failed reports why nothing is kept for now.
	Failed func(error)
	// Background runs what follows Redis.
	Background *background.Runner
}

// Cache holds entries. A nil Cache holds none.
type Cache struct {
	config  Config
	entries *otter.Cache[Key, *Entry]
	links   *heads.Links
	unfit   atomic.Bool // it was reported that the connections cannot be used

	mu      sync.RWMutex
	modules map[registry.Slot]*module
}

// Entry is a value, or the fact that the source has none.
type Entry struct {
	value    any
	negative bool
	bytes    int
	until    time.Time
	stamp    heads.Stamp
	hits     *atomic.Int64 // of the operation
}

// Value returns the value, which must not be changed.
func (e *Entry) Value() any { return e.value }

// Negative reports whether the source has nothing.
func (e *Entry) Negative() bool { return e.negative }

// valid reports whether an entry may be served.
func (e *Entry) valid(now time.Time) bool { return now.Before(e.until) && e.stamp.Valid(now) }

// New returns an empty Cache. It follows a module from the first hit in Redis on.
func New(config Config) (*Cache, error) {
	if err := heads.Supports(config.Client); err != nil {
		return nil, err
	}
	bounds := config.Bounds
	// An entry weighs at least its share of the bytes, so that one bound serves for both.
	least := max(1, bounds.MaxBytes/int64(bounds.MaxEntries))
	entries, err := otter.New(&otter.Options[Key, *Entry]{
		MaximumWeight: uint64(bounds.MaxBytes), //nolint:gosec // options check that it is more than 0
		Weigher: func(key Key, e *Entry) uint32 {
			weight := int64(key.bytes()+e.bytes) + entryOverhead
			return uint32(min(max(least, weight), math.MaxUint32)) //nolint:gosec // so it fits
		},
		ExpiryCalculator: otter.ExpiryWriting[Key, *Entry](bounds.MaxAge),
	})
	if err != nil {
		return nil, err
	}
	links := heads.NewLinks(config.Client, config.Generation)
	links.ReadsReplicas = config.ReadsReplicas
	return &Cache{
		config:  config,
		entries: entries,
		links:   links,
		modules: make(map[registry.Slot]*module),
	}, nil
}

// Get reads an entry into out, without a call to Redis. A negative entry leaves out as it is.
func (c *Cache) Get(key Key, out any) (found, negative bool) {
	if c == nil {
		return false, false
	}
	entry, found := c.entries.GetIfPresent(key)
	if !found || !entry.valid(time.Now()) {
		return false, false
	}
	if !entry.negative && dest.Set(out, entry.value) != nil {
		return false, false
	}
	entry.hits.Add(1)
	return true, entry.negative
}

// Peek returns an entry without counting a hit.
func (c *Cache) Peek(key Key) (*Entry, bool) {
	if c == nil {
		return nil, false
	}
	return c.entries.GetIfPresent(key)
}

// Serves reports whether Get would return this very entry.
func (c *Cache) Serves(key Key, entry *Entry) bool {
	found, _ := c.entries.GetIfPresent(key)
	return found == entry && entry.valid(time.Now())
}

// Stamp returns the state of an entry and of the heads that cover it. Take it before the entry is
// read from Redis, and pass it to Put. It is the zero Stamp if the heads are not known or the entry
// must not be kept.
func (c *Cache) Stamp(key registry.Key) heads.Stamp {
	if c == nil {
		return heads.Stamp{}
	}
	module, followed := c.module(key.Slot)
	if !followed || module.keeps(key.Operation) == 0 {
		return heads.Stamp{}
	}
	return module.tracker.Stamp(key.Operation, key.User, key.ID)
}

// Put keeps what out holds after a fresh hit in Redis, or that the source has nothing. From then on
// callers share the value. A hit shows that the policy caches something of the module, so the first
// one makes the Cache follow it.
func (c *Cache) Put(key Key, slot registry.Slot, out any, hit registry.Lookup, stamp heads.Stamp) {
	now := time.Now()
	if c == nil || hit.Stale || hit.Remaining <= 0 {
		return
	}
	module, followed := c.module(slot)
	if !followed {
		c.follow(slot)
		return
	}
	if !stamp.Valid(now) {
		return
	}
	entry := &Entry{
		negative: hit.Negative,
		bytes:    len(hit.Payload),
		until:    now.Add(min(hit.Remaining, module.keeps(key.operation))),
		stamp:    stamp,
		hits:     c.config.Hits(key.module, key.operation),
	}
	if !hit.Negative {
		entry.value = reflect.ValueOf(out).Elem().Interface()
	}
	c.entries.Set(key, entry)
}

// Changed stops serving what an invalidation by this process covers, before Redis reports the
// change.
func (c *Cache) Changed(slot registry.Slot, operation, user string) {
	if c == nil {
		return
	}
	if module, followed := c.module(slot); followed {
		module.tracker.Suspect(operation, user)
	}
}

// Deleted stops serving an entry that this process deleted, replaced or held, before Redis reports
// the change.
func (c *Cache) Deleted(key registry.Key) {
	if c == nil {
		return
	}
	if module, followed := c.module(key.Slot); followed {
		module.tracker.Deleted(key.Operation, key.User, key.ID)
	}
}

// Size returns how many entries are kept, and the bytes that they count for in Bounds.
func (c *Cache) Size() (entries int, bytes int64) {
	if c == nil {
		return 0, 0
	}
	bytes = int64(c.entries.WeightedSize()) //nolint:gosec // MaxBytes bounds it
	return c.entries.EstimatedSize(), bytes
}

// Close ends the goroutine that frees expired entries. Close Config.Background first: without what
// it runs, nothing is kept.
func (c *Cache) Close() {
	if c != nil {
		c.entries.StopAllGoroutines()
	}
}

// clear frees the memory of entries when none of them is valid any more.
func (c *Cache) clear() { c.entries.InvalidateAll() }

// run follows the heads of a module until Config.Background is closed.
func (c *Cache) run(tracker *heads.Tracker) bool {
	return c.config.Background.Start(context.Background(), func(ctx context.Context) {
		tracker.Run(ctx, func(err error) {
			c.clear()
			c.reportLoss(err)
		})
		c.clear()
	})
}

// reportLoss reports why nothing is kept. It does so once only if no new connection can help.
func (c *Cache) reportLoss(err error) {
	if !errors.Is(err, heads.ErrUnfit) {
		c.config.Failed(fmt.Errorf("%w: the near cache is not used until it follows Redis again: %w",
			registry.ErrUnreachable, err))
	} else if !c.unfit.Swap(true) {
		c.config.Failed(fmt.Errorf("the near cache is not used: %w", err))
	}
}
