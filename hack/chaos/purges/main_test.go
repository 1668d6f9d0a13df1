// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package purges

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr"
	"github.com/redis/go-redis/v9"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/cachewright/cachewright/internal/operatortest"
)

// binary is the path of the operator.
var binary string

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{}) // it would log each broken connection
	log.SetLogger(logr.Discard())
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cachewright-chaos-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		binary, err = operatortest.Build(context.Background(), dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}
