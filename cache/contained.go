// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"github.com/cachewright/cachewright/cache/internal/redact"
	"github.com/cachewright/cachewright/internal/contain"
	"github.com/cachewright/cachewright/registry"
)

// contained makes calls to Redis. A panic over what it answers is an error like any other: it must not be one of a
// caller, nor of a goroutine that has none.
func contained(call func() error) (err error) {
	defer contain.Panic(&err, registry.ErrMisbehaves)
	return call()
}

// tellPanic is for goroutines of the Client's own, where a panic would end the process: over functions of the
// application's that are called there, the logger and the failure hook among them.
func (c *Client) tellPanic(value any) {
	defer func() { _ = recover() }() // of the very function that is to be told
	c.tell("", "", redact.Panic("a function that runs in the background panicked", value))
}

// tellInBackground is tell for the goroutine that reports, which must go on.
func (c *Client) tellInBackground(module, operation string, err error) {
	defer func() {
		if value := recover(); value != nil {
			c.tellPanic(value)
		}
	}()
	c.tell(module, operation, err)
}
