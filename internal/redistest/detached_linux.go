// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package redistest

import "syscall"

// detached keeps a Ctrl-C in the terminal from the server, so that it outlives the orderly end of its parent, and
// takes it down with a parent that dies without one.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
