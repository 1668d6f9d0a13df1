// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

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
