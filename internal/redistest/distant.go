// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"testing"

	"github.com/cachewright/cachewright/internal/redistest/distant"
)

// StartDistant runs a proxy for the Redis at upstream until the test ends. At first, answers are
// not delayed.
func StartDistant(tb testing.TB, upstream string) *distant.Proxy {
	tb.Helper()
	proxy, err := distant.Start(upstream)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(proxy.Close)
	return proxy
}
