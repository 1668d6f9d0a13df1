// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package parse

import (
	"strings"
	"time"

	"github.com/cachewright/cachewright/registry/internal/bounds"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

// maxStatOperations is more than the library has statistics of.
const maxStatOperations = 2000

// Stats of a module. Its fields are those of registry.Stats.
type Stats struct {
	Keys          int64
	MemoryBytes   int64
	Pending       int64
	Invalidations int64
	Operations    map[string]OperationStats
}

// OperationStats of one operation. Its fields are those of registry.OperationStats.
type OperationStats struct {
	Keys          int64
	TTL           time.Duration
	Held          time.Duration
	Hits          int64
	Misses        int64
	HeldReads     int64
	Stale         int64
	Errors        int64
	Fills         int64
	Fenced        int64
	Invalidations int64
}

// StatsOf reads a reply of cw_stats.
func StatsOf(slot keyspace.Slot, reply any) (Stats, error) {
	const call = "cw_stats"
	fields, ok := reply.([]any)
	if !ok || len(fields)%2 != 0 {
		return Stats{}, sloterr.Unexpected(call, slot, reply)
	}
	stats := Stats{Operations: map[string]OperationStats{}}
	for i := 0; i < len(fields); i += 2 {
		name, isText := fields[i].(string)
		value, isNumber := fields[i+1].(int64)
		switch {
		case !isText || !isNumber:
			return Stats{}, sloterr.Implausible(call, slot, "a field that is not a name and a number")
		case !bounds.IsCount(value):
			return Stats{}, sloterr.Implausible(call, slot, "a number that is negative or too large")
		case !stats.add(name, value):
			return Stats{}, sloterr.Implausible(call, slot,
				"too many operations, or one with an invalid name")
		}
	}
	return stats, nil
}

// add stores a value, unless it belongs to an operation too many or to one with an invalid name.
func (s *Stats) add(name string, value int64) (added bool) {
	field, operation, ofOperation := strings.Cut(name, ":")
	if ofOperation {
		stats, known := s.Operations[operation]
		if !known && (len(s.Operations) >= maxStatOperations || !bounds.IsOperationName(operation)) {
			return false
		}
		stats.add(field, value)
		s.Operations[operation] = stats
		return true
	}
	switch field {
	case "keys":
		s.Keys = value
	case "memory":
		s.MemoryBytes = value
	case "pending":
		s.Pending = value
	case "invalidations":
		s.Invalidations = value
	}
	return true
}

func (o *OperationStats) add(field string, value int64) {
	switch field {
	case "keys":
		o.Keys = value
	case "ttl":
		o.TTL = bounds.Lifetime(value)
	case "held":
		o.Held = bounds.Lifetime(value)
	case "hits":
		o.Hits = value
	case "misses":
		o.Misses = value
	case "heldReads":
		o.HeldReads = value
	case "stale":
		o.Stale = value
	case "errors":
		o.Errors = value
	case "fills":
		o.Fills = value
	case "fenced":
		o.Fenced = value
	case "invalidations":
		o.Invalidations = value
	}
}
