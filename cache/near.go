// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

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

	"github.com/cachewright/cachewright/cache/internal/dest"
	"github.com/cachewright/cachewright/cache/internal/heads"
	"github.com/cachewright/cachewright/registry"
)

const (
	defaultNearEntries = 10_000
	defaultNearBytes   = 64 << 20
	defaultNearAge     = time.Minute

	// nearOverhead is about what an entry takes beside its value.
	nearOverhead = 512
	// nearHeads are followed beside those of the entries.
	nearHeads = 1000
	// plainBytes is the longest text among params that is kept as it is: a hit then costs no digest.
	plainBytes = 64
)

// NearCache bounds a cache in the process' own memory. What is 0 takes its default.
type NearCache struct {
	// MaxEntries that are kept. Default 10,000.
	MaxEntries int
	// MaxBytes that they take, reckoned by the size of their encoded values and of what names them. Default 64 MiB.
	MaxBytes int64
	// MaxAge after which an entry is read from Redis again, even if nothing changed; it is
	// never kept past its TTL, nor past the localTTL of its operation in the policy. Default 1m.
	MaxAge time.Duration
	// ByPolicy keeps entries only of operations that have a localTTL in the policy. Default: of all but
	// those whose localTTL is 0.
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

// near keeps values that were read from Redis, decoded. A nil near keeps nothing.
type near struct {
	bounds  NearCache
	entries *otter.Cache[nearKey, *nearEntry]
	links   *heads.Links
	policy  func(context.Context, registry.Slot) (registry.Policy, error)
	start   func(*heads.Tracker) bool
	hits    func(module, operation string) *atomic.Int64
	unfit   atomic.Bool // it was told that the connections are of no use

	mu      sync.RWMutex
	modules map[registry.Slot]*nearModule
}

// nearKey has the params themselves where they are plain, so that a hit costs no digest.
type nearKey struct {
	module, operation, user string
	params                  any
}

// bytes is what the texts of a key take. The module's is shared by its entries.
func (k nearKey) bytes() int {
	size := len(k.operation) + len(k.user)
	switch params := k.params.(type) {
	case string:
		size += len(params)
	case nearID:
		size += len(params)
	}
	return size
}

// nearID stands for params that are not plain.
type nearID string

type nearEntry struct {
	value    any
	negative bool
	bytes    int
	until    time.Time
	stamp    heads.Stamp
	hits     *atomic.Int64 // of the operation
}

func newNear(
	client redis.UniversalClient,
	generation func() uint64,
	bounds NearCache,
	policy func(context.Context, registry.Slot) (registry.Policy, error),
	start func(*heads.Tracker) bool,
	hits func(module, operation string) *atomic.Int64,
) (*near, error) {
	if err := heads.Supports(client); err != nil {
		return nil, fmt.Errorf("WithNearCache: %w", err)
	}
	// Each entry weighs at least its share of the bytes, so that one bound serves for both.
	least := max(1, bounds.MaxBytes/int64(bounds.MaxEntries))
	entries, err := otter.New(&otter.Options[nearKey, *nearEntry]{
		MaximumWeight: uint64(bounds.MaxBytes), //nolint:gosec // it was checked to be more than 0
		Weigher: func(key nearKey, e *nearEntry) uint32 {
			return uint32(min(max(least, int64(key.bytes()+e.bytes)+nearOverhead), math.MaxUint32)) //nolint:gosec // so it fits
		},
		ExpiryCalculator: otter.ExpiryWriting[nearKey, *nearEntry](bounds.MaxAge),
	})
	if err != nil {
		return nil, fmt.Errorf("WithNearCache: %w", err)
	}
	return &near{
		bounds:  bounds,
		entries: entries,
		links:   heads.NewLinks(client, generation),
		policy:  policy,
		start:   start,
		hits:    hits,
		modules: make(map[registry.Slot]*nearModule),
	}, nil
}

// plainKey returns the key of an entry if its params need no digest.
func plainKey(key Key) (nearKey, bool) {
	plain := nearKey{module: key.Module, operation: key.Operation, user: key.User, params: key.Params}
	switch params := key.Params.(type) {
	case string:
		return plain, len(params) <= plainBytes
	case nil, bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return plain, true
	default:
		return nearKey{}, false
	}
}

func digestKey(key registry.Key) nearKey {
	return nearKey{module: key.Module, operation: key.Operation, user: key.User, params: nearID(key.ID)}
}

// getNear says whether the entry is kept, without a call to Redis. If so, out now holds its value, or the error is
// ErrNotFound.
func (c *Client) getNear(key nearKey, out any) (found bool, err error) {
	if c.near == nil || c.undelivered.waiting.Load() {
		return false, nil
	}
	return c.near.get(key, out)
}

func (n *near) get(key nearKey, out any) (found bool, err error) {
	entry, found := n.entries.GetIfPresent(key)
	if !found {
		return false, nil
	}
	now := time.Now()
	if !now.Before(entry.until) || !entry.stamp.Valid(now) {
		return false, nil
	}
	if fits := entry.negative || dest.Set(out, entry.value) == nil; !fits {
		return false, nil
	}
	entry.hits.Add(1)
	if entry.negative {
		return true, ErrNotFound
	}
	return true, nil
}

// stamp is to be taken before an entry is read from Redis that is to be put. It is the zero stamp if its
// heads are not known, or it is not to be kept.
func (n *near) stamp(key registry.Key) heads.Stamp {
	if n == nil {
		return heads.Stamp{}
	}
	module, followed := n.module(key.Slot)
	if !followed || module.keeps(key.Operation) == 0 {
		return heads.Stamp{}
	}
	return module.tracker.Stamp(key.Operation, key.User)
}

// putNear keeps what out holds after a hit, but not to its end where it is to be refreshed before: then this process
// is to look at Redis again in time.
func (c *Client) putNear(key nearKey, slot registry.Slot, out any, hit registry.Lookup, stamp heads.Stamp) {
	hit.Remaining -= c.headStart(key.module, key.operation)
	c.near.put(key, slot, out, hit, stamp)
}

// put keeps what out holds, or that there is nothing, after a fresh hit; it is shared from now on. That there was a hit
// shows that the module is one of which something is cached: from the first on it is followed.
func (n *near) put(key nearKey, slot registry.Slot, out any, hit registry.Lookup, stamp heads.Stamp) {
	now := time.Now()
	if n == nil || hit.Stale || hit.Remaining <= 0 {
		return
	}
	module, followed := n.module(slot)
	if !followed {
		n.follow(slot)
		return
	}
	if !stamp.Valid(now) {
		return
	}
	entry := &nearEntry{
		negative: hit.Negative,
		bytes:    len(hit.Payload),
		until:    now.Add(min(hit.Remaining, module.keeps(key.operation))),
		stamp:    stamp,
		hits:     n.hits(key.module, key.operation),
	}
	if !hit.Negative {
		entry.value = reflect.ValueOf(out).Elem().Interface()
	}
	n.entries.Set(key, entry)
}

// changed makes what an invalidation of this process covers invalid before Redis tells.
func (n *near) changed(slot registry.Slot, operation, user string) {
	if n == nil {
		return
	}
	if module, followed := n.module(slot); followed {
		module.tracker.Suspect(operation, user)
	}
}

// lost frees the memory of entries none of which is valid any more.
func (n *near) lost() { n.entries.InvalidateAll() }

// close ends the goroutine that frees what has expired: once the trackers have ended nothing is kept any more.
func (n *near) close() {
	if n != nil {
		n.entries.StopAllGoroutines()
	}
}

// follow runs a tracker until the client is closed.
func (c *Client) follow(tracker *heads.Tracker) bool {
	return c.background.Start(context.Background(), func(ctx context.Context) {
		tracker.Run(ctx, func(err error) {
			c.near.lost()
			c.tellLost(err)
		})
		c.near.lost()
	})
}

// tellLost tells why the near cache is not used; only once where no new connection will change that.
func (c *Client) tellLost(err error) {
	if !errors.Is(err, heads.ErrUnfit) {
		c.tell("", "", fmt.Errorf("%w: the near cache is not used until it follows Redis again: %w", registry.ErrUnreachable, err))
	} else if !c.near.unfit.Swap(true) {
		c.tell("", "", fmt.Errorf("the near cache is not used: %w", err))
	}
}
