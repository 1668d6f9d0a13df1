// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package source says how an application loads what it caches.
package source

import (
	"context"
	"errors"
)

// Load loads a value from the source of the application.
type Load = func(context.Context) (any, error)

// ErrNotFound is cache.ErrNotFound.
var ErrNotFound = errors.New("not found")
