// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package browsertest drives a headless Chromium, for tests of pages. It speaks the protocol of
// DevTools over pipes, so it needs neither a port nor a client library.
package browsertest

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/cachewright/cachewright/internal/detached"
)

// timeout is how long the browser may take for one thing, on a machine that is busy.
const timeout = time.Minute

// names of the program on the PATH, on different systems.
var names = []string{"chromium", "chromium-browser", "google-chrome"}

// find returns the browser that hack/chromium.sh or the PATH names.
func find() (string, error) {
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path, nil
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("there is no Chromium on the PATH, and CHROMIUM is not set: " +
		"run hack/chromium.sh")
}

// Open runs a browser until the end of the test, and returns an empty page in it. A page can reach
// no other host than this one. In short tests it skips the test.
func Open(t testing.TB) *Page {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser")
	}
	path, err := find()
	if err != nil {
		t.Fatal(err)
	}
	connection, err := start(path, t.TempDir())
	if err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	t.Cleanup(connection.close)
	page := &Page{t: t, connection: connection}
	if err := page.attach(); err != nil {
		t.Fatalf("opening a page in %s: %v\n%s", path, err, connection.log.String())
	}
	return page
}

// start runs a browser with its files in a directory.
func start(path, dir string) (*connection, error) {
	commands, toBrowser, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	fromBrowser, answers, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, flags(dir)...)
	cmd.ExtraFiles = []*os.File{commands, answers} // 3 and 4, as --remote-debugging-pipe wants
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_CACHE_HOME="+dir)
	cmd.SysProcAttr = detached.Attributes()
	c := newConnection(cmd, toBrowser, fromBrowser)
	cmd.Stderr = c.log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	_, _ = commands.Close(), answers.Close()
	go c.receive()
	return c, nil
}

func flags(dir string) []string {
	all := []string{
		"--headless", "--remote-debugging-pipe", "--user-data-dir=" + dir, "--disable-gpu",
		"--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
		"--disable-extensions", "--disable-sync", "--no-first-run", "--no-default-browser-check",
		"--force-color-profile=srgb", "--window-size=1120,800", "--hide-scrollbars", "--no-proxy-server",
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
	}
	if os.Getuid() == 0 {
		all = append(all, "--no-sandbox") // its sandbox refuses root
	}
	return append(all, "about:blank")
}
