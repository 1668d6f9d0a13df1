// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package primary

import (
	"errors"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/info"
)

func TestRedisWithoutFunctionsIsNamed(t *testing.T) {
	if err := requireFunctions(info.Primary{Addr: "redis:6379", Version: "6.2.14"}); !errors.Is(err, fault.ErrUnsupported) ||
		!strings.Contains(err.Error(), "redis:6379 runs Redis 6.2.14") {
		t.Errorf("got %v", err)
	}
	if err := requireFunctions(info.Primary{Addr: "redis:6379", Version: "7.0.0"}); err != nil {
		t.Error(err)
	}
}
