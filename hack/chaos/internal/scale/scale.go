// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package scale says how much the chaos tests do.
package scale

import (
	"os"
	"strconv"
	"testing"
)

// FromEnv returns the number in an environment variable, or short if it is not set. It fails the
// test unless the number is at least 1.
func FromEnv(tb testing.TB, variable string, short int) int {
	tb.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return short
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		tb.Fatalf("%s must be a number of at least 1, not %q", variable, text)
	}
	return n
}
