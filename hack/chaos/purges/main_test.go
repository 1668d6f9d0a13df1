// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package purges

import (
	"os"
	"testing"

	"github.com/cachewright/cachewright/hack/chaos/internal/kube"
)

// sideBySide is how many tests run at a time. They mostly wait for Redis and for the API server.
const sideBySide = 6

func TestMain(m *testing.M) { os.Exit(kube.Main(m, sideBySide)) }
