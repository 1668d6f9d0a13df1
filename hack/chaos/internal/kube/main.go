// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kube runs what chaos tests of the operator need: an API server, and operators as
// processes of their own.
package kube

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/cachewright/cachewright/internal/operatortest"
)

// files is the directory for what all tests of a package share.
var files string

// operator returns the path of the operator, which it builds at most once.
var operator = sync.OnceValues(func() (string, error) {
	return operatortest.Build(context.Background(), files)
})

// Main runs the tests of a package, and returns the exit code. Up to parallel tests run side by
// side, unless -parallel says otherwise: they mostly wait. Main silences controller-runtime,
// because the tests break connections on purpose.
func Main(m *testing.M, parallel int) int {
	log.SetLogger(logr.Discard())
	runAtOnce(parallel)
	var err error
	if files, err = os.MkdirTemp("", "cachewright-chaos-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(files) }()
	defer stopShared()
	return m.Run()
}

func runAtOnce(tests int) {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		_ = flag.Set("test.parallel", strconv.Itoa(tests)) // such a flag exists, and takes any number
	}
}
