// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package near

import (
	"errors"
	"time"
)

const (
	defaultEntries = 10_000
	defaultBytes   = 64 << 20
	defaultAge     = time.Minute
)

// Bounds are those of cache.NearCache.
type Bounds struct {
	MaxEntries int
	MaxBytes   int64
	MaxAge     time.Duration
	ByPolicy   bool
}

// WithDefaults returns the bounds with defaults in place of zeros.
func (b Bounds) WithDefaults() Bounds {
	if b.MaxEntries == 0 {
		b.MaxEntries = defaultEntries
	}
	if b.MaxBytes == 0 {
		b.MaxBytes = defaultBytes
	}
	if b.MaxAge == 0 {
		b.MaxAge = defaultAge
	}
	return b
}

// Check returns an error if nothing could be kept within the bounds.
func (b Bounds) Check() error {
	if b.MaxEntries <= 0 || b.MaxBytes <= 0 || b.MaxAge <= 0 {
		return errors.New("WithNearCache: the bounds must be more than 0, or 0 for their defaults")
	}
	return nil
}
