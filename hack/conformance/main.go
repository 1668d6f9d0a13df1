// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Conformance tries a client in any language against the data plane protocol, on a real Redis. It
// starts the driver of the client, which is the command behind the flags, and speaks with it over
// standard input and output. docs/clients.md says how.
//
//	go run ./hack/conformance -redis cluster -resp 3 node examples/node/conform.mjs
//
// It prints each case that failed and a summary. Its status is 0 if none failed, 1 if some did, and
// 2 if it could not try.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const (
	passed = iota
	failed
	notTried
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "conformance:", err)
		return notTried
	}
	status, err := o.try(ctx, stdout)
	if err != nil {
		fmt.Fprintln(stderr, "conformance:", err)
		return notTried
	}
	return status
}
