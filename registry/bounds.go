// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"regexp"
	"time"
)

// Bounds of what servers may reply. The library stays far below. A tenant can write the counters
// and policies of its modules. So a reply that exceeds the bounds is an error of the slot, not of
// the store.
const (
	maxCount          = 1 << 53
	maxNameBytes      = 128
	maxModuleBytes    = 253
	maxModules        = 10_000
	maxStatOperations = 2000
	maxOperations     = 1000
	maxTTL            = 720 * time.Hour
	maxJitterPercent  = 50
)

func isCount(n int64) bool { return n >= 0 && n <= maxCount }

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// boundedMilliseconds converts a reply to a duration from 0 to twice the maximum TTL, so that
// computing with it cannot overflow. Entries exist for longer than their TTL while they are stale.
func boundedMilliseconds(n int64) time.Duration {
	const maximum = 2 * maxTTL
	return milliseconds(max(0, min(n, maximum.Milliseconds())))
}

var (
	slotName   = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
	policyHash = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

func isModuleName(
	text string,
) bool {
	return len(text) <= maxModuleBytes && slotName.MatchString(text)
}

func isOperationName(text string) bool { return text != "" && len(text) <= maxNameBytes }
