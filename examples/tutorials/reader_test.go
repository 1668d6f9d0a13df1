// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package tutorials

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/internal/detached"
	"github.com/cachewright/cachewright/internal/kubetest"
	"github.com/cachewright/cachewright/internal/operatortest"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/internal/testserver"
)

// published is what the page's "go get" fetches: this checkout, as if it was released.
const published = `go() {
  if [[ $1 != get ]]; then command go "$@"; return; fi
  command go mod edit -require=github.com/cachewright/cachewright@v0.0.0 -replace=github.com/cachewright/cachewright="$CHECKOUT"
  cp "$CHECKOUT/go.sum" .
}
`

// reader follows a page in a shell of its own, with a cluster, an operator and a Redis.
type reader struct {
	t       *testing.T
	dir     string // of the project that the page begins
	address string // where the service listens
	input   io.Writer
	shown   *bufio.Reader
	output  string // of the last block
}

func newReader(t *testing.T, project string) *reader {
	t.Helper()
	parent := t.TempDir()
	r := &reader{t: t, dir: filepath.Join(parent, project), address: freeAddress(t)}
	root, err := kubetest.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("bash")
	shell.Dir = parent
	shell.SysProcAttr = detached.Attributes()
	shell.Env = append(os.Environ(), "ADDRESS="+r.address, "CHECKOUT="+root, "GOFLAGS=-mod=mod")
	shell.Env = append(shell.Env, startEverything(t)...)
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
	r.paste("set -eo pipefail\n" + published)
	return r
}

// startEverything starts what the page asks its reader for, and returns the variables that lead there.
func startEverything(t *testing.T) (env []string) {
	t.Helper()
	cluster, err := kubetest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cluster.Stop() })
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(kubeconfig, cluster.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(redistest.Start(t).Addr())
	env = []string{"KUBECONFIG=" + kubeconfig, "REDIS_HOST=" + host, "REDIS_PORT=" + port}
	binary, err := operatortest.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	operator, err := operatortest.Start(binary, env, "--metrics-bind-address=0", "--health-probe-bind-address=0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		operator.Kill()
		if t.Failed() {
			t.Log(operator.Output())
		}
	})
	return append(env, "PATH="+filepath.Dir(cluster.ControlPlane.KubectlPath)+":"+os.Getenv("PATH"))
}

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
		if err != nil {
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

func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := testserver.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(testserver.Loopback, strconv.Itoa(port))
}
