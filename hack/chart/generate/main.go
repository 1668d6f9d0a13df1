// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// This program writes what the chart takes from elsewhere: copies of manifests and dashboards, and
// the table of values in its README. Run it as "make chart".
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

func main() {
	root := flag.String("root", ".", "Root of the repository.")
	flag.Parse()
	if err := generate(*root); err != nil {
		fmt.Fprintln(os.Stderr, "writing the chart:", err)
		os.Exit(1)
	}
}

// generate writes the derived files of charts/cachewright below the root of the repository.
func generate(root string) error {
	return errors.Join(copyFiles(root), writeReadme(root))
}
