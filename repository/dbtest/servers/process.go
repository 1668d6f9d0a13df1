// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package servers runs real PostgreSQL and MariaDB servers on loopback, for tests.
package servers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cachewright/cachewright/internal/detached"
	"github.com/cachewright/cachewright/internal/testserver"
)

const (
	loopback     = testserver.Loopback
	startTimeout = time.Minute
	stopTimeout  = 20 * time.Second
)

// process is one run of a server.
type process struct {
	cmd    *exec.Cmd
	log    *testserver.Log
	exited chan struct{}
}

// account is the user that runs a server: none of them runs as root.
type account struct{ uid, gid int }

// accountOf is the account of a name if the tests run as root, and otherwise that of the tests.
func accountOf(name string) (account, error) {
	if os.Getuid() != 0 {
		return account{uid: os.Getuid(), gid: os.Getgid()}, nil
	}
	found, err := user.Lookup(name)
	if err != nil {
		return account{}, fmt.Errorf("finding the user that runs the server: %w", err)
	}
	uid, err := strconv.Atoi(found.Uid)
	if err != nil {
		return account{}, err
	}
	gid, err := strconv.Atoi(found.Gid)
	return account{uid: uid, gid: gid}, err
}

// directory makes a directory that belongs to the account, where it can be reached.
func (a account) directory() (string, error) {
	parent := os.TempDir()
	if a.uid != os.Getuid() && !isOpen(parent) {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "cachewright-db-")
	if err != nil {
		return "", err
	}
	return dir, os.Chown(dir, a.uid, a.gid)
}

// isOpen says whether each user may enter a directory.
func isOpen(dir string) bool {
	for ; dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil || info.Mode()&0o001 == 0 {
			return false
		}
	}
	return true
}

// command runs as the account, in its directory.
func (a account) command(dir, path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "TMPDIR="+dir, "LC_ALL=C", "TZ=UTC")
	cmd.SysProcAttr = detached.Attributes()
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)} //nolint:gosec // ids of users are that long
	}
	return cmd
}

// initialise runs a program that prepares a directory.
func initialise(cmd *exec.Cmd) error {
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w:\n%s", cmd.Path, err, output)
	}
	return nil
}

// launch starts a server, and waits until its log has a text.
func launch(cmd *exec.Cmd, ready string) (*process, error) {
	p := &process{cmd: cmd, log: testserver.NewLog(ready), exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	go func() {
		_ = cmd.Wait()
		close(p.exited)
	}()
	select {
	case <-p.log.Ready():
		return p, nil
	case <-p.exited:
		log := p.log.String()
		if strings.Contains(log, "Address already in use") {
			return nil, testserver.ErrPortTaken
		}
		return nil, fmt.Errorf("%s ended as soon as it was started:\n%s", cmd.Path, log)
	case <-time.After(startTimeout):
		p.end(syscall.SIGKILL)
		return nil, fmt.Errorf("%s was not ready after %s:\n%s", cmd.Path, startTimeout, p.log.String())
	}
}

// end sends a signal, and waits for the end of the process.
func (p *process) end(signal syscall.Signal) {
	_ = p.cmd.Process.Signal(signal) // fails only when it has ended already
	select {
	case <-p.exited:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// onFreePort calls a function with free ports, until no other program takes one before the server.
func onFreePort(start func(port int) (*process, error)) (*process, int, error) {
	for range testserver.PortAttempts {
		port, err := testserver.FreePort()
		if err != nil {
			return nil, 0, err
		}
		p, err := start(port)
		if !errors.Is(err, testserver.ErrPortTaken) {
			return p, port, err
		}
	}
	return nil, 0, testserver.ErrPortTaken
}
