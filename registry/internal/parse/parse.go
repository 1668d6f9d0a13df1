// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package parse reads the replies of the function library. It trusts none: a reply of another type,
// or with a value that the library would not send, is an error of the slot.
package parse

import (
	"regexp"

	"github.com/cachewright/cachewright/registry/internal/bounds"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

// Pair reads a reply of two counts.
func Pair(call string, slot keyspace.Slot, reply any) (first, second int64, err error) {
	if fields, _ := reply.([]any); len(fields) == 2 {
		first, isFirst := fields[0].(int64)
		second, isSecond := fields[1].(int64)
		switch {
		case !isFirst || !isSecond:
		case !bounds.IsCount(first) || !bounds.IsCount(second):
			return 0, 0, sloterr.Implausible(call, slot, "a count that is negative or too large")
		default:
			return first, second, nil
		}
	}
	return 0, 0, sloterr.Unexpected(call, slot, reply)
}

// Invalidated is the answer to an invalidation. Package registry exports and documents it.
type Invalidated struct {
	Keys    int64
	Pending int64
}

// InvalidatedOf reads a reply of cw_invalidate.
func InvalidatedOf(slot keyspace.Slot, reply any) (Invalidated, error) {
	keys, pending, err := Pair("cw_invalidate", slot, reply)
	return Invalidated{Keys: keys, Pending: pending}, err
}

var policyHash = regexp.MustCompile(`^[0-9a-f]{40}$`)

// IsPolicyHash says whether a text can be a reply of cw_policy_hash.
func IsPolicyHash(text string) bool { return policyHash.MatchString(text) }
