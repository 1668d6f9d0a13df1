// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"errors"

	"github.com/go-logr/logr"

	"github.com/cachewright/cachewright/internal/contain"
)

// ErrPanicked means that the operator's own code panicked, and not over what a store answered.
// Nothing is known of the resource.
var ErrPanicked = errors.New("an error in the operator")

// StackOf returns where an error panicked; empty: nowhere.
func StackOf(err error) string {
	var panicked *contain.Error
	if errors.As(err, &panicked) {
		return panicked.Stack
	}
	return ""
}

// LogPanic logs where an error panicked, if it did.
func LogPanic(log logr.Logger, err error) {
	if stack := StackOf(err); stack != "" {
		log.Error(err, "Contained a panic: please report it", "stack", stack)
	}
}
