// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package operatortest runs the operator as users do: the binary in its own process, which tests
// can kill and pause.
package operatortest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/cachewright/cachewright/internal/detached"
	"github.com/cachewright/cachewright/internal/kubetest"
)

// binaryVariable names an operator that was built from this checkout, so that several packages of
// tests do not each build it.
const binaryVariable = "OPERATOR_BINARY"

// Build compiles the operator of this repository into dir and returns the path of the binary. If
// the environment names one in OPERATOR_BINARY, Build returns that.
func Build(ctx context.Context, dir string) (string, error) {
	if built := os.Getenv(binaryVariable); built != "" {
		return built, nil
	}
	root, err := kubetest.ModuleRoot()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "operator")
	// Without symbols, linking takes half the time.
	build := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", binary, "./cmd/operator")
	build.Dir = root
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the operator: %w\n%s", err, output)
	}
	return binary, nil
}

// Process is a running operator. Its methods may be called concurrently.
type Process struct {
	command *exec.Cmd
	output  output
	ended   chan struct{}
}

// Start runs a binary that Build made. env is the whole environment of the process. The caller ends
// it with Kill or Stop.
func Start(binary string, env []string, args ...string) (*Process, error) {
	p := &Process{command: exec.Command(binary, args...), ended: make(chan struct{})}
	p.command.Env = append([]string{"HOME=" + filepath.Dir(binary)}, env...)
	p.command.Stdout, p.command.Stderr = &p.output, &p.output
	p.command.SysProcAttr = detached.Attributes()
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("starting the operator: %w", err)
	}
	go func() {
		_ = p.command.Wait()
		close(p.ended)
	}()
	return p, nil
}

// Kill ends the operator with SIGKILL and waits for its end. Repeated calls do nothing.
func (p *Process) Kill() {
	_ = p.command.Process.Kill() // fails only when it has already ended
	<-p.ended
}

// Stop ends the operator with SIGTERM, as Kubernetes does, and waits for its end.
func (p *Process) Stop() {
	_ = p.command.Process.Signal(syscall.SIGTERM) // fails only when it has already ended
	<-p.ended
}

// Pause stops the operator with SIGSTOP. Its connections stay open.
func (p *Process) Pause() error { return p.command.Process.Signal(syscall.SIGSTOP) }

// Resume continues a paused operator.
func (p *Process) Resume() error { return p.command.Process.Signal(syscall.SIGCONT) }

// Ended returns a channel that is closed when the operator has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// PID returns the process id.
func (p *Process) PID() int { return p.command.Process.Pid }

// Output returns what the operator has logged so far.
func (p *Process) Output() string { return p.output.String() }

type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(text []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(text)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
