// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package operations says what an option of the application covers.
package operations

import "slices"

// Operation names an operation of a module or, if Name is empty, all of its operations.
type Operation struct{ Module, Name string }

// Set covers the operations that it names. An empty one covers all.
type Set []Operation

// Covers reports whether the set covers an operation.
func (s Set) Covers(operation Operation) bool {
	return len(s) == 0 || slices.Contains(s, operation) ||
		slices.Contains(s, Operation{Module: operation.Module})
}

// LacksModule reports whether an operation has no module. Such a set covers less than it seems to.
func (s Set) LacksModule() bool {
	return slices.ContainsFunc(s, func(o Operation) bool { return o.Module == "" })
}
