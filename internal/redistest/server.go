// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package redistest runs real Redis servers on loopback, alone or as a cluster, for tests and for
// the demo.
package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Server is a redis-server process that tests can kill, restart, pause and resume. Its methods may
// be called concurrently. If they fail, they fail the test, or panic for a server of Run.
type Server struct {
	launch launch
	tb     testing.TB // nil if Run started it

	mu      sync.Mutex
	process *process // nil after Kill
}

// Start runs a redis-server on a free loopback port, without persistence, until the test ends.
// config holds further directives as on the command line, for example "--maxmemory", "10mb". Start
// fails the test if the server does not start, and shows its log if the test fails. It skips the
// test if -short is set.
func Start(tb testing.TB, config ...string) *Server {
	tb.Helper()
	return start(tb, launch{dir: tb.TempDir(), config: config})
}

// Run runs a redis-server as Start does, for programs that are not tests. The server ends when ctx
// is done or Kill is called. dir is created if it does not exist, and port 0 means a free port.
func Run(ctx context.Context, dir string, port int, config ...string) (*Server, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("creating the directory of redis-server: %w", err)
	}
	server := &Server{launch: launch{dir: dir, port: port, config: config}}
	if err := server.start(); err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, server.Kill)
	return server, nil
}

func start(tb testing.TB, l launch) *Server {
	tb.Helper()
	if testing.Short() {
		tb.Skip("needs a redis-server, which -short leaves out")
	}
	server := &Server{launch: l, tb: tb}
	if err := server.start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		log := server.log()
		server.Kill()
		if tb.Failed() {
			tb.Logf("log of redis-server %s:\n%s", server.Addr(), log)
		}
	})
	return server
}

// Addr returns the address of the server as host:port. Restarts do not change it.
func (s *Server) Addr() string {
	return net.JoinHostPort(loopback, strconv.Itoa(s.launch.port))
}

// Client returns a new client of the server without credentials. To a server with TLS, it shows the
// client's certificate. The client is closed when the test ends. Callers of Run close it
// themselves.
func (s *Server) Client() *redis.Client { return s.ClientAs("", "") }

// ClientAs does what Client does, and logs in as a user of the ACL.
func (s *Server) ClientAs(username, password string) *redis.Client {
	client := s.newClient(username, password)
	if s.tb != nil {
		s.tb.Cleanup(func() { _ = client.Close() })
	}
	return client
}

func (s *Server) newClient(username, password string) *redis.Client {
	return redis.NewClient(s.options(username, password))
}

func (s *Server) options(username, password string) *redis.Options {
	options := &redis.Options{Addr: s.Addr(), Username: username, Password: password}
	if s.launch.tls != nil {
		options.TLSConfig = s.launch.tls.Config()
	}
	return options
}

// AddUser creates a user of the ACL, with rules as for ACL SETUSER, such as "~cw:{shop/*", "+@all".
// A restart removes the user, unless the server keeps users: see SaveACL.
func (s *Server) AddUser(username, password string, rules ...string) {
	s.do(append([]string{"ACL", "SETUSER", username, "on", ">" + password}, rules...)...)
}

// SaveACL writes the users to the file that the directive `aclfile` names. Restarts load it.
func (s *Server) SaveACL() { s.do("ACL", "SAVE") }

// Save writes a snapshot, which restarts load.
func (s *Server) Save() { s.do("SAVE") }

// StartFromSnapshot runs another server with a copy of the last snapshot until the test ends.
func (s *Server) StartFromSnapshot() *Server {
	s.tb.Helper()
	dir := s.tb.TempDir()
	if err := os.CopyFS(dir, os.DirFS(s.launch.dir)); err != nil {
		s.tb.Fatal(err)
	}
	return start(s.tb, launch{dir: dir})
}

// PauseWrites delays all calls that may write, for a minute.
func (s *Server) PauseWrites() { s.do("CLIENT", "PAUSE", "60000", "WRITE") }

// Kill ends the server with SIGKILL and waits for its end. Unsaved data is lost. Repeated calls do
// nothing.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		s.process.kill()
		s.process = nil
	}
}

// Restart kills the server if it runs, and starts it again on the same port. It loads the last
// snapshot, if there is one. Restart returns when the server answers.
func (s *Server) Restart() {
	s.Kill()
	if err := s.start(); err != nil {
		s.fail(err)
	}
}

// Pause stops the server with SIGSTOP. Connections stay open, but calls get no answer.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume continues a paused server.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

// do runs a command and fails the test on an error.
func (s *Server) do(args ...string) {
	client := s.newClient("", "")
	defer func() { _ = client.Close() }()
	command := make([]any, len(args))
	for i, arg := range args {
		command[i] = arg
	}
	if err := client.Do(context.Background(), command...).Err(); err != nil {
		s.fail(fmt.Errorf("%s %s on redis-server %s: %w", args[0], args[1:min(2, len(args))], s.Addr(),
			err))
	}
}

func (s *Server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.launch.run()
	if err != nil {
		return err
	}
	s.process = p
	return nil
}

func (s *Server) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := errors.New("the server was killed: call Restart first")
	if s.process != nil {
		err = s.process.cmd.Process.Signal(sig)
	}
	if err != nil {
		s.fail(fmt.Errorf("sending %s to redis-server %s: %w", sig, s.Addr(), err))
	}
}

func (s *Server) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return "(killed by the test)"
	}
	return s.process.log.String()
}

func (s *Server) fail(err error) {
	if s.tb == nil {
		panic(err)
	}
	s.tb.Helper()
	s.tb.Fatal(err)
}
