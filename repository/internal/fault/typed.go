// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"errors"
	"fmt"

	"github.com/cachewright/cachewright/cache"
)

// Errors of package repository, which documents them.
var (
	ErrConflict   = errors.New("another transaction was in the way")
	ErrConstraint = errors.New("a constraint does not allow the change")
)

// ConstraintError is repository.ConstraintError.
type ConstraintError struct {
	// Kind of the constraint.
	Kind Kind

	err error
}

// Error implements error.
func (e *ConstraintError) Error() string {
	return fmt.Sprintf("%s (%s): %s", ErrConstraint, e.Kind, e.err)
}

// Unwrap returns ErrConstraint and the error of the driver.
func (e *ConstraintError) Unwrap() []error { return []error{ErrConstraint, e.err} }

// Typed wraps an error of a driver in what it means. Any other error is returned as it is.
func Typed(err error, read Reader) error {
	if err == nil || isTyped(err) {
		return err
	}
	found := read(err)
	switch found.Class {
	case NotFound:
		return fmt.Errorf("%w: %w", cache.ErrNotFound, err)
	case Conflict, Locked:
		return fmt.Errorf("%w: %w", ErrConflict, err)
	case Constraint:
		return &ConstraintError{Kind: found.Kind, err: err}
	default:
		return err
	}
}

func isTyped(err error) bool {
	return errors.Is(err, cache.ErrNotFound) || errors.Is(err, ErrConflict) ||
		errors.Is(err, ErrConstraint)
}
