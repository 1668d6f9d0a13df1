// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// Server is a database server. Its methods panic if they fail: no test can go on then.
type Server struct {
	account account
	dir     string
	port    int
	process *process // nil after Kill
	ends    syscall.Signal
	start   func(s *Server, port int) (*process, error)
	url     func(addr, database string) string
}

// run starts a server in a directory of its own.
func (s *Server) run() (*Server, error) {
	var err error
	s.process, s.port, err = onFreePort(func(port int) (*process, error) { return s.start(s, port) })
	if err != nil {
		_ = os.RemoveAll(s.dir)
		return nil, err
	}
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() string { return net.JoinHostPort(loopback, strconv.Itoa(s.port)) }

// DSN names a database for the drivers: pgx and lib/pq, or go-sql-driver/mysql.
func (s *Server) DSN(database string) string { return s.DSNAt(s.Addr(), database) }

// DSNAt does the same for another address that leads to the server.
func (s *Server) DSNAt(addr, database string) string { return s.url(addr, database) }

// Kill ends the server at once: what was committed is there after a Restart.
func (s *Server) Kill() {
	if s.process != nil {
		s.process.end(s.ends)
		s.process = nil
	}
}

// Restart kills the server if it runs, and starts it again on the same port.
func (s *Server) Restart() {
	s.Kill()
	var err error
	if s.process, err = s.start(s, s.port); err != nil {
		panic(err)
	}
}

// Close kills the server and removes its files.
func (s *Server) Close() {
	s.Kill()
	_ = os.RemoveAll(s.dir)
}

// Log is what the server has logged since its last start.
func (s *Server) Log() string {
	if s.process == nil {
		return "(killed)"
	}
	return s.process.log.String()
}

// find returns a program that a script of hack/ or the PATH names.
func find(program, variable string) (string, error) {
	if dir := os.Getenv(variable); dir != "" {
		return filepath.Join(dir, program), nil
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("%s is not on the PATH and %s is not set: run the tests with "+
			"make test-db: %w", program, variable, err)
	}
	return path, nil
}

// Backup keeps a copy of what the server has now. It restarts the server.
func (s *Server) Backup() {
	s.copyData("data", "backup")
}

// Restore replaces what the server has by what it had at the last Backup. It restarts the server.
func (s *Server) Restore() {
	s.copyData("backup", "data")
}

func (s *Server) copyData(from, to string) {
	s.Kill()
	if err := os.RemoveAll(filepath.Join(s.dir, to)); err != nil {
		panic(err)
	}
	cmd := exec.Command("cp", "-a", filepath.Join(s.dir, from), filepath.Join(s.dir, to))
	if err := initialise(cmd); err != nil {
		panic(err)
	}
	s.Restart()
}
