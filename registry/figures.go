// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"regexp"
	"time"
)

// Bounds of what servers may say; the library stays far below. A tenant can write counters and policies of its modules, so
// what exceeds them is the slot's trouble, not that of the store.
const (
	maxFigure         = 1 << 53
	maxNameBytes      = 128
	maxModuleBytes    = 253
	maxModules        = 10_000
	maxStatOperations = 2000
	maxOperations     = 1000
	maxTTL            = 720 * time.Hour
	maxJitterPercent  = 50
)

func isFigure(n int64) bool { return n >= 0 && n <= maxFigure }

// absurd is the error of a reply of the right kind that says what cannot be.
func absurd(call string, slot Slot, what string) error {
	return fmt.Errorf("%s of %s: %w: %s", call, slot, ErrUnexpected, what)
}

// boundedMilliseconds turns a reply into a duration that can be computed with, from 0 to twice the longest TTL: entries
// live on past theirs while they are stale.
func boundedMilliseconds(n int64) time.Duration {
	const most = 2 * maxTTL
	return milliseconds(max(0, min(n, most.Milliseconds())))
}

var (
	slotName   = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
	policyHash = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

func isModuleName(text string) bool { return len(text) <= maxModuleBytes && slotName.MatchString(text) }

func isOperationName(text string) bool { return text != "" && len(text) <= maxNameBytes }
