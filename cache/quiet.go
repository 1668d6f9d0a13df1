// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"errors"

	"github.com/cachewright/cachewright/cache/internal/flight"
)

// quietError keeps the message of its cause, which may quote values of the application's, out of
// logs, and the cause itself within reach of errors.As.
type quietError struct {
	message string
	kind    error
	cause   error
}

func (e *quietError) Error() string { return e.message }

func (e *quietError) Unwrap() []error {
	if e.cause == nil {
		return []error{e.kind}
	}
	return []error{e.kind, e.cause}
}

var errPanicked = errors.New("a function of the application's panicked")

// panicked is what is told of a panic that has no caller to panic in: its value often quotes what the application
// works on, and so does the stack, by the arguments in it.
func panicked(what string, value any) error {
	recovered := flight.NewPanic(value)
	return &quietError{message: what + ": " + recovered.Quiet(), kind: errPanicked, cause: recovered}
}
