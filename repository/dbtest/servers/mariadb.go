// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// StartMariaDB runs a MariaDB until Close. The user is root, and needs no password. config holds
// further options, for example "--innodb-lock-wait-timeout=1".
func StartMariaDB(config ...string) (*Server, error) {
	mariadbd, err := find("mariadbd", "MARIADB_BIN")
	if err != nil {
		return nil, err
	}
	install := filepath.Join(filepath.Dir(mariadbd), "mariadb-install-db")
	if onPath, err := exec.LookPath("mariadb-install-db"); err == nil {
		install = onPath
	}
	s := &Server{ends: syscall.SIGKILL, url: func(addr, database string) string {
		return fmt.Sprintf("root@tcp(%s)/%s?parseTime=true", addr, database)
	}}
	if s.account, err = accountOf("mysql"); err != nil {
		return nil, err
	}
	if s.dir, err = s.account.directory(); err != nil {
		return nil, err
	}
	data := filepath.Join(s.dir, "data")
	if err := initialise(s.account.command(s.dir, install, "--no-defaults", "--datadir="+data,
		"--auth-root-authentication-method=normal", "--skip-test-db",
		"--skip-name-resolve")); err != nil {
		s.Close()
		return nil, err
	}
	s.start = func(s *Server, port int) (*process, error) {
		args := append([]string{
			"--no-defaults", "--datadir=" + data,
			"--bind-address=" + loopback, "--port=" + strconv.Itoa(port),
			"--socket=" + filepath.Join(s.dir, "socket"), "--pid-file=" + filepath.Join(s.dir, "pid"),
			"--skip-name-resolve", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=2",
			"--innodb-buffer-pool-size=32M", "--max-connections=200",
		}, config...)
		return launch(s.account.command(s.dir, mariadbd, args...), "ready for connections")
	}
	return s.run()
}
