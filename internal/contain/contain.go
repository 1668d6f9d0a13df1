// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package contain turns panics into errors. So neither the reply of one peer nor the content of one
// object can end a process that serves others.
package contain

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// maxStack bounds the recorded stack of a panic, in bytes.
const maxStack = 8 << 10

// Error is a panic that was turned into an error. Its text contains no bytes of a peer.
type Error struct {
	// Stack of the goroutine when it panicked, clipped, for a log.
	Stack string

	reason string
}

// Error implements error.
func (e *Error) Error() string { return "handling it failed: " + e.reason }

// Panic turns a panic of the function that defers it into *err, which then wraps meaning and an
// *Error. Defer it directly:
// it has no effect when a deferred function calls it.
func Panic(err *error, meaning error) { //nolint:gocritic // a deferred call can change the result only by its address
	value := recover()
	if value == nil {
		return
	}
	*err = fmt.Errorf("%w: %w", meaning, &Error{Stack: stack(), reason: reasonOf(value)})
}

// Call makes a call and turns a panic of it into an error that wraps meaning.
func Call(meaning error, call func() error) (err error) {
	defer Panic(&err, meaning)
	return call()
}

// reasonOf returns a text without foreign bytes: the message of the Go runtime, or the type of any
// other value.
func reasonOf(value any) string {
	if failure, ok := value.(runtime.Error); ok {
		return failure.Error()
	}
	return fmt.Sprintf("a panic with a value of type %T", value)
}

func stack() string {
	text := debug.Stack()
	return string(text[:min(len(text), maxStack)])
}
