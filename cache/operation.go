// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import "github.com/cachewright/cachewright/cache/internal/operations"

// Operation names an operation of a module or, if Name is empty, all of its operations.
type Operation struct{ Module, Name string }

// covered returns what an option covers. No operations cover all.
func covered(named []Operation) operations.Set {
	var set operations.Set
	for _, operation := range named {
		set = append(set, operations.Operation(operation))
	}
	return set
}
