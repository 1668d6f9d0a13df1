// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"testing"

	"github.com/onsi/gomega"

	"github.com/cachewright/cachewright/internal/redistest"
)

// What one MGET does not give, none of its readers gets; the next is another.
func TestABatchThatFailsIsAnErrorToItsReaders(t *testing.T) {
	server := redistest.Start(t)
	r := newPipelined(t, server.Client(), HalfDuplex)
	apply(t, r, users, caching())
	key := entry("list", "a", "")
	fill(t, r, key, "x")
	server.Kill()
	if _, err := r.Read(t.Context(), key); !errors.Is(err, ErrUnreachable) {
		t.Errorf("with a Redis that is gone: %v", err)
	}
	server.Restart()
	eventually(t, func() error { _, err := r.Read(t.Context(), key); return err }).Should(gomega.Succeed())
}
