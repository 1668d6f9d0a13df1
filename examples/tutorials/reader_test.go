// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package tutorials

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/internal/detached"
	"github.com/cachewright/cachewright/internal/kubetest"
	"github.com/cachewright/cachewright/internal/operatortest"
)

// reader follows a page in a shell of its own, with a cluster, an operator and a Redis.
type reader struct {
	t       *testing.T
	dir     string // of the project that the page begins
	address string // where the service listens
	input   io.Writer
	shown   *bufio.Reader
	output  string // of the last block
}

func newReader(t *testing.T, project string, env []string) *reader {
	t.Helper()
	parent := t.TempDir()
	r := &reader{t: t, dir: filepath.Join(parent, project), address: operatortest.FreeAddress(t)}
	root, err := kubetest.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("bash")
	shell.Dir = parent
	shell.SysProcAttr = detached.Attributes()
	shell.Env = append(os.Environ(), "ADDRESS="+r.address, "CHECKOUT="+root,
		"OVERLAY="+slowMachines(t, root, t.TempDir()))
	shell.Env = append(shell.Env, env...)
	complaints, err := os.Create(filepath.Join(parent, "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	shell.Stderr = complaints
	input, err := shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := shell.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.input, r.shown = input, bufio.NewReader(output)
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if pid, err := os.ReadFile(filepath.Join(r.dir, "pid")); err == nil {
			_ = exec.Command("kill", strings.TrimSpace(string(pid))).Run() // fails when the page ended the service
		}
		_ = input.Close()
		_ = shell.Wait()
		_ = complaints.Close()
	})
	r.paste("set -eo pipefail\ntrap 'echo \"" + failed + "\"' EXIT\n" + published)
	return r
}

// failed is what the shell says when a line ends it. The service that a page starts has the same
// output, which therefore does not end.
const failed = "-- a line failed --"

// paste runs lines in the shell, and keeps what they print.
func (r *reader) paste(lines string) {
	r.t.Helper()
	const end = "-- end of the block --\n"
	if _, err := fmt.Fprintf(r.input, "%s\necho '%s'\n", strings.ReplaceAll(lines, "127.0.0.1:8080", r.address), strings.TrimSpace(end)); err != nil {
		r.t.Fatal(err)
	}
	var output strings.Builder
	for {
		line, err := r.shown.ReadString('\n')
		if err != nil || line == failed+"\n" {
			complaints, _ := os.ReadFile(filepath.Join(filepath.Dir(r.dir), "stderr"))
			r.t.Fatalf("a line fails in\n%s\n%s%s", lines, output.String(), complaints)
		}
		if line == end {
			break
		}
		output.WriteString(line)
	}
	r.output = output.String()
}
