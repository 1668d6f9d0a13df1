// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux

// Package detached runs the processes that tests, benchmarks and the demo start.
package detached

import "syscall"

// Attributes keep a Ctrl-C in the terminal from the process, so that it outlives the orderly end of
// its parent.
func Attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
