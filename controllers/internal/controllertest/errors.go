// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllertest

import (
	"fmt"

	"github.com/cachewright/cachewright/registry"
)

// What can be wrong with a store, as package registry says it.
var (
	ErrDown = fmt.Errorf("cw_stats of a/b: %w: dial tcp 127.0.0.1:1: connect: connection refused",
		registry.ErrUnreachable)
	ErrLost = fmt.Errorf("cw_stats of a/b: %w: read tcp 127.0.0.1:1: i/o timeout",
		registry.ErrUnreachable)
	ErrPassword = fmt.Errorf("INFO: %w: WRONGPASS invalid username-password pair or user is disabled",
		registry.ErrUnauthorized)
	ErrOld = fmt.Errorf(
		"127.0.0.1:1 runs Redis 6.2.14: %w: use Redis 7.0 or Valkey 7.2, or later",
		registry.ErrUnsupported)
	ErrForbidden = fmt.Errorf("cw_policy_apply of a/b: %w: NOPERM this user has no permissions",
		registry.ErrForbidden)
	ErrDamaged = fmt.Errorf("cw_policy_apply of a/b: %w: WRONGTYPE Operation against a key",
		registry.ErrUnexpected)
	ErrFull    = fmt.Errorf("cw_set of a/b: %w: OOM command not allowed", registry.ErrOutOfMemory)
	ErrRefused = fmt.Errorf(
		"cw_policy_apply of a/b: %w: CACHEWRIGHT cw_policy_apply: revision must be a string",
		registry.ErrRejected)
)
