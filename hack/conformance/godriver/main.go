// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// The driver of the Go client for the conformance runner. docs/clients.md says what it is asked.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"

	"github.com/cachewright/cachewright/hack/conformance/internal/goclient"
)

func main() {
	if err := goclient.Serve(context.Background(), bufio.NewReader(os.Stdin), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
