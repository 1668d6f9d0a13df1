// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package parse

import (
	"time"

	"github.com/cachewright/cachewright/registry/internal/bounds"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

// MaxUnclaimed is the number of unclaimed names that a namespace has at most.
const MaxUnclaimed = 64

// Unclaimed is a name that no policy lists. Package registry exports and documents it.
type Unclaimed struct {
	Module        string
	Operation     string
	Reads         int64
	Invalidations int64
	Age           time.Duration
}

// UnclaimedOf reads a reply of cw_unclaimed.
func UnclaimedOf(slot keyspace.Slot, reply any) ([]Unclaimed, error) {
	const (
		call   = "cw_unclaimed"
		fields = 5
	)
	list, ok := reply.([]any)
	switch {
	case !ok || len(list)%fields != 0:
		return nil, sloterr.Unexpected(call, slot, reply)
	case len(list) > fields*MaxUnclaimed:
		return nil, sloterr.Implausible(call, slot, "more names than a namespace can have")
	}
	names := make([]Unclaimed, 0, len(list)/fields)
	for ; len(list) > 0; list = list[fields:] {
		name, ok := unclaimedOf(list)
		if !ok {
			return nil, sloterr.Implausible(call, slot,
				"a name that no policy can list, or a count that is negative or too large")
		}
		names = append(names, name)
	}
	return names, nil
}

// unclaimedOf reads one name. It reports whether there can be such a name.
func unclaimedOf(fields []any) (name Unclaimed, ok bool) {
	module, isModule := fields[0].(string)
	operation, isOperation := fields[1].(string)
	if !isModule || !isOperation || !bounds.CanBeListed(module, operation) {
		return Unclaimed{}, false
	}
	var counts [3]int64
	for i := range counts {
		count, isCount := fields[2+i].(int64)
		if !isCount || !bounds.IsCount(count) {
			return Unclaimed{}, false
		}
		counts[i] = count
	}
	return Unclaimed{
		Module: module, Operation: operation,
		Reads: counts[0], Invalidations: counts[1], Age: bounds.Lifetime(counts[2]),
	}, true
}
