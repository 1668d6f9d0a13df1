// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/cachewright/cachewright/internal/detached"
	"github.com/cachewright/cachewright/internal/testserver"
)

const (
	loopback     = testserver.Loopback
	startTimeout = 30 * time.Second
)

// launch says how to start a redis-server. run fills in the ports that it chose.
type launch struct {
	dir     string
	port    int // 0: any
	busPort int // of a node of a cluster
	cluster bool
	tls     *Certificates // nil: without TLS
	// sentinel, if not nil, writes the configuration of a Sentinel with the given directives and
	// returns the path of the file.
	sentinel func(listening [][2]string) (string, error)
	config   []string
}

// run starts the server and waits until it accepts connections. If another process takes a port
// before the server does, run chooses another one.
func (l *launch) run() (*process, error) {
	if l.port != 0 {
		return l.runOnce()
	}
	for range testserver.PortAttempts {
		if err := l.choosePorts(); err != nil {
			return nil, err
		}
		p, err := l.runOnce()
		if err == nil {
			return p, nil
		}
		l.port = 0
		if !errors.Is(err, testserver.ErrPortTaken) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("starting redis-server: %w, %d times in a row",
		testserver.ErrPortTaken, testserver.PortAttempts)
}

func (l *launch) choosePorts() (err error) {
	if l.port, err = testserver.FreePort(); err != nil {
		return err
	}
	if l.cluster {
		l.busPort, err = testserver.FreePort()
	}
	return err
}

func (l *launch) runOnce() (*process, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil,
			fmt.Errorf("redis-server is not on the PATH: run hack/redis.sh, or install the package "+
				"redis-server (Debian, Ubuntu) or redis (Alpine, Fedora, Homebrew): %w", err)
	}
	args, readyText := l.args(), "Ready to accept connections"
	if l.sentinel != nil {
		file, err := l.sentinel(l.listening())
		if err != nil {
			return nil, err
		}
		args, readyText = append([]string{file, "--sentinel"}, l.config...), "Sentinel ID is"
	}
	p := &process{
		cmd: exec.Command(path, args...), log: testserver.NewLog(readyText), exited: make(chan struct{}),
	}
	p.cmd.Dir = l.dir
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = detached.Attributes()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting redis-server: %w", err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	if err := p.waitReady(l.port); err != nil {
		return nil, err
	}
	return p, nil
}

func (l *launch) args() []string {
	args := []string{
		"--bind", loopback, "--dir", l.dir,
		"--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0",
		"--daemonize", "no", "--logfile", "",
	}
	for _, directive := range l.listening() {
		args = append(args, "--"+directive[0], directive[1])
	}
	if l.cluster {
		args = append(args, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(l.busPort),
			"--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "5000")
	}
	return append(args, l.config...)
}

// listening returns the directives for ports and TLS, each with its value.
func (l *launch) listening() [][2]string {
	if l.tls != nil {
		return l.tls.directives(l.port)
	}
	return [][2]string{{"port", strconv.Itoa(l.port)}}
}

// process is one run of a server.
type process struct {
	cmd    *exec.Cmd
	log    *testserver.Log
	exited chan struct{} // closed when the process has ended
}

// waitReady waits until the log says that the server is ready.
func (p *process) waitReady(port int) error {
	select {
	case <-p.log.Ready():
		return nil
	case <-p.exited:
		log := p.log.String()
		if strings.Contains(log, "Failed listening on port") {
			return fmt.Errorf("starting redis-server on port %d: %w", port, testserver.ErrPortTaken)
		}
		return fmt.Errorf("redis-server ended as soon as it was started (%s):\n%s", p.cmd.ProcessState,
			log)
	case <-time.After(startTimeout):
		p.kill()
		return fmt.Errorf("redis-server was not ready after %s:\n%s", startTimeout, p.log.String())
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails only when it has already ended
	<-p.exited
}
