// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"fmt"
	"path/filepath"
	"strconv"
	"syscall"
)

// StartPostgres runs a PostgreSQL until Close. config holds further settings, for example
// "log_statement=all". The user is postgres, and needs no password.
func StartPostgres(config ...string) (*Server, error) {
	initdb, err := find("initdb", "POSTGRES_BIN")
	if err != nil {
		return nil, err
	}
	s := &Server{ends: syscall.SIGQUIT, url: func(addr, database string) string {
		return fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", addr, database)
	}}
	if s.account, err = accountOf("postgres"); err != nil {
		return nil, err
	}
	if s.dir, err = s.account.directory(); err != nil {
		return nil, err
	}
	data := filepath.Join(s.dir, "data")
	if err := initialise(s.account.command(s.dir, initdb, "--no-sync", "--auth=trust",
		"--username=postgres", "--encoding=UTF8", "--pgdata", data)); err != nil {
		s.Close()
		return nil, err
	}
	s.start = func(s *Server, port int) (*process, error) {
		args := []string{"-D", data, "-p", strconv.Itoa(port), "-h", loopback}
		for _, setting := range append([]string{
			"unix_socket_directories=", "fsync=off", "max_connections=200",
		}, config...) {
			args = append(args, "-c", setting)
		}
		postgres := filepath.Join(filepath.Dir(initdb), "postgres")
		return launch(s.account.command(s.dir, postgres, args...),
			"database system is ready to accept connections")
	}
	return s.run()
}
