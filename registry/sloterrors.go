// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

// SlotErrors has the errors of single slots in a call on many. It is a map from Slot to error, and
// an error itself. The results for the other slots are valid. A Slot without a module stands for
// what a namespace has of its own: the list of its modules, or its unclaimed names.
//
// errors.Is matches any of the errors. The method Take(err) adds the errors of single slots in err.
// It returns err if that is another error. The method OrNil returns the errors as an error, or nil
// if there are none.
type SlotErrors = sloterr.Errors

// ConcernsStore distinguishes an error of the store, or of the connection to it, from one of a
// single slot or call. The latter do not concern other slots. Examples are keys that the library
// did not write, an ACL that forbids a key or a command, and a call that was refused.
func ConcernsStore(err error) bool { return fault.ConcernsStore(err) }
