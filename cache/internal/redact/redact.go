// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package redact makes errors that can be logged: their messages quote nothing that belongs to the
// application, such as values, params or users.
package redact

import (
	"errors"

	"github.com/cachewright/cachewright/cache/internal/flight"
)

// redactedError hides the messages of its causes. errors.Is and errors.As still find the causes.
type redactedError struct {
	message string
	causes  []error
}

// New returns an error with a message of its own in place of those of its causes. A nil cause is
// left out.
func New(message string, causes ...error) error {
	redacted := &redactedError{message: message}
	for _, cause := range causes {
		if cause != nil {
			redacted.causes = append(redacted.causes, cause)
		}
	}
	return redacted
}

// Error implements error.
func (e *redactedError) Error() string { return e.message }

// Unwrap returns the causes.
func (e *redactedError) Unwrap() []error { return e.causes }

// ErrPanic is what every error of Panic is, for errors.Is.
var ErrPanic = errors.New("a function of the application panicked")

// Panic returns an error for a recovered value that cannot be passed on to a caller. The message
// names the type of the value and the functions on the stack. It leaves out the value and the
// arguments of functions, which often hold the application's data.
func Panic(what string, value any) error {
	recovered := flight.NewPanic(value)
	return New(what+": "+recovered.Redacted(), ErrPanic, recovered)
}
