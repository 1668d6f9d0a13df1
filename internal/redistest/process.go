// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cachewright/cachewright/internal/detached"
)

const (
	loopback     = "127.0.0.1"
	startTimeout = 30 * time.Second
	portAttempts = 20
	lowestPort   = 12000
	highestPort  = 32000
)

var errPortTaken = errors.New("port is taken")

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
	for range portAttempts {
		if err := l.choosePorts(); err != nil {
			return nil, err
		}
		p, err := l.runOnce()
		if err == nil {
			return p, nil
		}
		l.port = 0
		if !errors.Is(err, errPortTaken) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("starting redis-server: %w, %d times in a row", errPortTaken, portAttempts)
}

func (l *launch) choosePorts() (err error) {
	if l.port, err = freePort(); err != nil {
		return err
	}
	if l.cluster {
		l.busPort, err = freePort()
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
	p := &process{cmd: exec.Command(path, args...), exited: make(chan struct{})}
	p.log.ready, p.log.readyText = make(chan struct{}), readyText
	p.cmd.Dir = l.dir
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
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

// freePort chooses ports below those that systems use for outgoing connections. Above that limit, a
// client that retries the port of a killed server could get it as its own. It would then connect to
// itself and block the port.
func freePort() (int, error) {
	for range portAttempts {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		listener, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
		if err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("no free port on %s after %d attempts between %d and %d", loopback,
		portAttempts, lowestPort, highestPort)
}

// process is one run of a server.
type process struct {
	cmd    *exec.Cmd
	log    logBuffer
	exited chan struct{} // closed when the process has ended
}

// waitReady reads the log instead of connecting. That works with all kinds of authentication, and
// does not mistake another server on the same port for this one.
func (p *process) waitReady(port int) error {
	select {
	case <-p.log.ready:
		return nil
	case <-p.exited:
		log := p.log.String()
		if strings.Contains(log, "Failed listening on port") {
			return fmt.Errorf("starting redis-server on port %d: %w", port, errPortTaken)
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

// logBuffer keeps the server's log and closes ready when the log says that the server is ready.
type logBuffer struct {
	mu        sync.Mutex
	text      bytes.Buffer
	ready     chan struct{}
	readyText string // the text to wait for
	isReady   bool
}

func (b *logBuffer) Write(chunk []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.text.Write(chunk)
	if !b.isReady && bytes.Contains(b.text.Bytes(), []byte(b.readyText)) {
		b.isReady = true
		close(b.ready)
	}
	return n, err
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
