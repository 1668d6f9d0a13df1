// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package operatortest

import (
	"net"
	"strconv"
	"testing"

	"github.com/cachewright/cachewright/internal/testserver"
)

// FreeAddress returns an address of loopback at which nobody listens.
func FreeAddress(t testing.TB) string {
	t.Helper()
	port, err := testserver.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(testserver.Loopback, strconv.Itoa(port))
}
