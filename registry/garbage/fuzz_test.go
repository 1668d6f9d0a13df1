// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package garbage

import (
	"os"
	"testing"

	"github.com/cachewright/cachewright/registry"
)

// library is the function library, or another that is tried: GARBAGE_LIBRARY names its file.
func library(tb testing.TB) string {
	tb.Helper()
	path := os.Getenv("GARBAGE_LIBRARY")
	if path == "" {
		return registry.Library
	}
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// Whatever a tenant writes into its keys, each call ends within its bound, a purge takes effect,
// and a policy makes the slot work again. The seeds are faults that there were.
func FuzzSlot(f *testing.F) {
	w := newWorld(f, library(f))
	f.Fuzz(func(t *testing.T, script string, scope uint8) {
		if len(script) > 1<<16 {
			return
		}
		if err := w.try(t.Context(), script, int(scope)); err != nil {
			t.Fatal(err)
		}
	})
}
