// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package backoff says how long to wait between attempts that fail.
package backoff

import (
	"math/rand/v2"
	"time"
)

// maxDoublings keeps a pause from overflowing: it is far more than any Backoff needs.
const maxDoublings = 16

// Backoff begins with a short pause and ends with a long one.
type Backoff struct {
	First, Last time.Duration
}

// After returns the pause after so many failures in a row: First, doubled by each further failure,
// and Last at most. It is drawn between half of that and all of it, so that processes do not return
// all at once.
func (b Backoff) After(failures int) time.Duration {
	half := min(b.First<<min(max(0, failures-1), maxDoublings), b.Last) / 2
	return half + rand.N(max(1, half))
}
