// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package entries reads entries through the cache, and writes them. It knows the order in which the
// near cache, the outbox, Redis and the source are asked.
package entries

import (
	"time"

	"github.com/cachewright/cachewright/cache/internal/audit"
	"github.com/cachewright/cachewright/cache/internal/codec"
	"github.com/cachewright/cachewright/cache/internal/failure"
	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/heads"
	"github.com/cachewright/cachewright/cache/internal/loads"
	"github.com/cachewright/cachewright/cache/internal/near"
	"github.com/cachewright/cachewright/cache/internal/outbox"
	"github.com/cachewright/cachewright/cache/internal/params"
	"github.com/cachewright/cachewright/cache/internal/refresh"
	"github.com/cachewright/cachewright/cache/internal/report"
	"github.com/cachewright/cachewright/cache/internal/schema"
	"github.com/cachewright/cachewright/cache/internal/source"
	"github.com/cachewright/cachewright/registry"
)

// Key addresses an entry. It is a cache.Key.
type Key struct {
	Module    string
	Operation string
	Params    any
	User      string
}

// Config says how Entries are read and written. All fields are needed.
type Config struct {
	Gateway  *gateway.Gateway
	Outbox   *outbox.Outbox
	Near     *near.Cache // nil: none
	Reports  *report.Reporter
	Failures *failure.Reports
	Codec    codec.Codec
	Schemas  schema.Rules

	Loads     *loads.Loads
	Early     *refresh.HeadStarts
	Refresher *refresh.Refresher
	Auditor   *audit.Auditor
	// Missed is called for each Get that finds nothing.
	Missed func(module, operation string)

	Timeout  time.Duration // for all calls to Redis of one Fetch
	LoadWait time.Duration
}

// Entries are those of the namespace.
type Entries struct {
	config     Config
	oldLibrary oldLibrary
}

// New returns Entries.
func New(config Config) *Entries { return &Entries{config: config} }

// KeyOf returns the key of an entry in Redis, and reports params that cannot name one.
func (e *Entries) KeyOf(key Key) (registry.Key, error) {
	id, err := params.Named(key.Params)
	if err != nil {
		e.config.Failures.Add(key.Module, key.Operation, err)
		return registry.Key{}, err
	}
	return registry.Key{
		Slot: e.config.Gateway.Slot(key.Module), Operation: key.Operation, ID: id, User: key.User,
		Schema: e.config.Schemas.Of(key.Module, key.Operation),
	}, nil
}

// getNear reports whether the near cache has an entry. If so, out holds its value, or the error is
// ErrNotFound. While an invalidation waits for Redis, the near cache is not read.
func (e *Entries) getNear(key near.Key, out any) (found bool, err error) {
	if e.config.Near == nil || e.config.Outbox.Waiting() {
		return false, nil
	}
	found, negative := e.config.Near.Get(key, out)
	if negative {
		return true, source.ErrNotFound
	}
	return found, nil
}

// putNear keeps what out holds after a hit. It keeps an entry that is refreshed early for less time
// than it has left, so that this process reads Redis again before the end.
func (e *Entries) putNear(
	key near.Key, entry registry.Key, out any, hit registry.Lookup, stamp heads.Stamp,
) {
	if e.config.Near == nil {
		return
	}
	hit.Remaining -= e.config.Early.Of(entry.Module, entry.Operation)
	e.config.Near.Put(key, entry.Slot, out, hit, stamp)
}
