// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package node_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// prepareNode makes sure that Node can run the example, with the packages that its lock file names.
func prepareNode(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not on the PATH: install Node 18 or later (Debian, Ubuntu: apt-get install nodejs npm)", tool)
		}
	}
	if err := installPackages(); err != nil {
		t.Fatal(err)
	}
}

var installPackages = sync.OnceValue(func() error {
	if installed, err := arePackagesInstalled(); installed || err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Stdout, npm.Stderr = os.Stderr, os.Stderr
	return npm.Run()
})

// arePackagesInstalled looks for the file that npm writes last, so an installation that was cut off
// does not count. It must be newer than the lock file, which a checkout may have replaced since.
func arePackagesInstalled() (bool, error) {
	installed, err := os.Stat("node_modules/.package-lock.json")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	wanted, err := os.Stat("package-lock.json")
	return err == nil && !wanted.ModTime().After(installed.ModTime()), err
}

// startNode runs main.mjs until the test ends and returns the URL at which it listens.
func startNode(t *testing.T, environment ...string) string {
	t.Helper()
	node := exec.Command("node", "main.mjs")
	node.Env = append(os.Environ(), environment...)
	var log strings.Builder
	node.Stderr = &log
	output, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = node.Process.Kill()
		_ = node.Wait()
		if t.Failed() {
			t.Logf("log of Node:\n%s", log.String())
		}
	})
	timeout := time.AfterFunc(time.Minute, func() { _ = node.Process.Kill() })
	defer timeout.Stop()
	line, err := bufio.NewReader(output).ReadString('\n')
	address, found := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil && !errors.Is(err, io.EOF) || !found {
		t.Fatalf("Node said %q instead of where it listens (%v)", line, err)
	}
	return address
}
