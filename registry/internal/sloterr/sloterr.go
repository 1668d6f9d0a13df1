// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package sloterr has the errors of calls on slots. They name the call and the slot, but no
// arguments: these contain payloads and user ids.
package sloterr

import (
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
)

// ErrNoLibrary says: load the function library and repeat the call.
var ErrNoLibrary = errors.New("the function library is missing")

// Call classifies an error of the client.
func Call(call string, slot keyspace.Slot, err error) error {
	return fault.Classify(call+" of "+slot.String(), err)
}

// Unexpected is the error of a reply of another type.
func Unexpected(call string, slot keyspace.Slot, reply any) error {
	return fmt.Errorf("%s of %s: %w: a reply of type %T", call, slot, fault.ErrUnexpected, reply)
}

// Implausible is the error of a reply that has the right type but an impossible value.
func Implausible(call string, slot keyspace.Slot, what string) error {
	return fmt.Errorf("%s of %s: %w: %s", call, slot, fault.ErrUnexpected, what)
}

// Failure returns the error of a call in a pipeline. A nil reply is not an error.
func Failure(call string, slot keyspace.Slot, err error) error {
	switch {
	case err == nil || errors.Is(err, redis.Nil):
		return nil
	case fault.IsFunctionMissing(err):
		return fmt.Errorf("%s of %s: %w: %w", call, slot, fault.ErrUnexpected, ErrNoLibrary)
	default:
		return Call(call, slot, err)
	}
}
