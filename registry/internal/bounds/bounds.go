// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package bounds has the bounds of what servers may reply. The library stays far below. A tenant
// can write the counters and policies of its modules. So a reply that exceeds the bounds is an
// error of the slot, not of the store.
package bounds

import (
	"regexp"
	"time"
)

const (
	// MaxCount is the largest count: sums of some fit into 64 bits, too.
	MaxCount = 1 << 53
	// MaxNameBytes bounds the name of an operation, and a revision.
	MaxNameBytes = 128
	// MaxTTL of an entry.
	MaxTTL = 720 * time.Hour

	maxModuleBytes = 253
)

// IsCount says whether a number can be a count.
func IsCount(n int64) bool { return n >= 0 && n <= MaxCount }

// Milliseconds converts a number of milliseconds.
func Milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// WholeMilliseconds rounds up: half a millisecond must not become 0, which disables caching.
func WholeMilliseconds(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}

// Lifetime converts a reply to a duration from 0 to twice the maximum TTL, so that computing with
// it cannot overflow. Entries exist for longer than their TTL while they are stale.
func Lifetime(n int64) time.Duration {
	const maximum = 2 * MaxTTL
	return Milliseconds(max(0, min(n, maximum.Milliseconds())))
}

var moduleName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// IsModuleName says whether a text can name a module.
func IsModuleName(text string) bool {
	return len(text) <= maxModuleBytes && moduleName.MatchString(text)
}

// IsOperationName says whether a text can name an operation.
func IsOperationName(text string) bool { return text != "" && len(text) <= MaxNameBytes }

const maxListedModuleBytes = 63

// The names that a CachePolicy can have.
var (
	listedModule    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
	listedOperation = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._:/-]*[A-Za-z0-9])?$`)
)

// CanBeListed says whether a CachePolicy can have a module and, unless it is empty, an operation of
// these names.
func CanBeListed(module, operation string) bool {
	return len(module) <= maxListedModuleBytes && listedModule.MatchString(module) &&
		(operation == "" || len(operation) <= MaxNameBytes && listedOperation.MatchString(operation))
}
