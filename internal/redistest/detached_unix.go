// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux

package redistest

import "syscall"

// detached keeps a Ctrl-C in the terminal from the server, so that it outlives the orderly end of its parent.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
