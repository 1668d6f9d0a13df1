// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package entries

import (
	"context"

	"github.com/cachewright/cachewright/cache/internal/refresh"
	"github.com/cachewright/cachewright/registry"
)

// countHits counts the hits among requests that were read, and the misses that take no lease. It
// refreshes entries that are stale or close to their end. Redis counts a stale hit itself when it
// leases the entry for a refresh.
func (e *Entries) countHits(ctx context.Context, read []*request, load loader) {
	var stale, early []refresh.Entry
	var counts hitCounts
	for _, r := range read {
		switch {
		case r.state == missed && r.lookup.Token.Unleased():
			counts.add(e, r.entry, registry.Counters{Misses: 1})
			continue
		case r.state != answered:
			continue
		case r.lookup.Stale:
			stale = append(stale, refresh.Entry{Key: r.entry, At: r.at})
			continue
		case e.config.Refresher.IsEarly(r.entry, r.lookup):
			early = append(early, refresh.Entry{Key: r.entry, At: r.at})
		}
		counts.add(e, r.entry, registry.Counters{Hits: 1})
	}
	if len(early) > 0 {
		e.config.Refresher.Early(ctx, early, load.many())
	}
	if len(stale) > 0 {
		for i, started := range e.config.Refresher.Stale(ctx, stale, load.many()) {
			if !started {
				counts.add(e, stale[i].Key, registry.Counters{Stale: 1})
			}
		}
	}
	counts.send(e)
}

// hitCounts adds up the hits of an operation, because each report takes a lock.
type hitCounts struct {
	module, operation string
	counters          registry.Counters
}

func (c *hitCounts) add(e *Entries, of registry.Key, more registry.Counters) {
	if c.module != of.Module || c.operation != of.Operation {
		c.send(e)
		c.module, c.operation = of.Module, of.Operation
	}
	c.counters.Hits += more.Hits
	c.counters.Stale += more.Stale
	c.counters.Misses += more.Misses
}

func (c *hitCounts) send(e *Entries) {
	if c.counters != (registry.Counters{}) {
		e.config.Reports.Add(c.module, c.operation, c.counters)
		c.counters = registry.Counters{}
	}
}
