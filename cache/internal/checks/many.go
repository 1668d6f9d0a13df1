// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"errors"
	"fmt"
)

// MaxMany is cache.MaxMany.
const MaxMany = 1000

// ErrTooMany is cache.ErrTooMany.
var ErrTooMany = errors.New("too many keys for one call")

// Many wants no more keys than one call may have.
func Many(keys int) error {
	if keys > MaxMany {
		return fmt.Errorf("cache: %w: %d; make several calls with at most %d each",
			ErrTooMany, keys, MaxMany)
	}
	return nil
}

// ManyDests also wants a destination for each key.
func ManyDests(keys, dests int) error {
	if keys != dests {
		return fmt.Errorf("cache: FetchMany has %d dests for %d keys: give one for each key", dests, keys)
	}
	return Many(keys)
}
