// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package tutorials

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// oldestNode is the first version of Node that NestJS runs on.
const oldestNode = 20

// installNest installs what the NestJS page asks for, once, in the versions of nest/package-lock.json.
// A network that is slow is asked three times.
func installNest(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("installs packages of npm")
	}
	requireNode(t)
	wanted, err := os.Stat("nest/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	// npm writes this file last.
	installed, err := os.Stat("nest/node_modules/.package-lock.json")
	if err == nil && !wanted.ModTime().After(installed.ModTime()) {
		return
	}
	var output []byte
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
		npm.Dir = "nest"
		output, err = npm.CombinedOutput()
		cancel()
		if err == nil {
			return
		}
	}
	t.Fatalf("npm ci: %v\n%s", err, output)
}

func requireNode(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("npm"); err != nil {
		t.Skip("npm is not on the PATH")
	}
	output, err := exec.CommandContext(t.Context(), "node", "--version").Output()
	if err != nil {
		t.Skipf("node is not on the PATH: %v", err)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(string(output), "v"), ".")
	if version, err := strconv.Atoi(major); err != nil || version < oldestNode {
		t.Skipf("Node is %s, and NestJS needs %d", output, oldestNode)
	}
}
