// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import "time"

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
	// ByPolicy keeps only entries of operations that have a localTTL in the policy. Default:
	// entries of all operations are kept, except where the localTTL is 0.
	ByPolicy bool
}
