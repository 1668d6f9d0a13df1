// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// SlotErrors has the errors of single slots in a call on many. The results for the other slots are
// valid. A Slot without a module stands for the list of the modules of a namespace.
type SlotErrors map[Slot]error

// Error implements error.
func (e SlotErrors) Error() string {
	first := e.first()
	if len(e) == 1 {
		return first.Error()
	}
	return fmt.Sprintf("%v (and %d others)", first, len(e)-1)
}

// Unwrap makes errors.Is match any of the errors.
func (e SlotErrors) Unwrap() []error { return slices.Collect(maps.Values(e)) }

// Take adds the errors of single slots in err. It returns err if that is another error.
func (e SlotErrors) Take(err error) error {
	var ofSlots SlotErrors
	if !errors.As(err, &ofSlots) {
		return err
	}
	maps.Copy(e, ofSlots)
	return nil
}

// OrNil returns the errors as an error, or nil if there are none.
func (e SlotErrors) OrNil() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// of is OrNil for a call on so many slots. If every slot failed because of the store, it returns
// one such error.
func (e SlotErrors) of(slots int) error {
	if len(e) > 0 && len(e) == slots && !slices.ContainsFunc(e.Unwrap(), isOfSlot) {
		return e.first()
	}
	return e.OrNil()
}

func (e SlotErrors) first() error {
	if len(e) == 0 {
		return nil
	}
	return e[slices.MinFunc(slices.Collect(maps.Keys(e)), func(a, b Slot) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Module, b.Module))
	})]
}

// ConcernsStore distinguishes an error of the store, or of the connection to it, from one of a
// single slot or call. The latter do not concern other slots. Examples are keys that the library
// did not write, an ACL that forbids a key or a command, and a call that was refused.
func ConcernsStore(err error) bool {
	switch {
	case err == nil || errors.Is(err, context.Canceled) || errors.Is(err, ErrForbidden):
		return false
	default:
		return errors.Is(err, ErrUnreachable) || errors.Is(err, ErrUnauthorized) ||
			errors.Is(err, ErrUnsupported) ||
			errors.Is(err, ErrMisbehaves) || errors.Is(err, ErrAddressNotAllowed)
	}
}

// isOfAll says that a call on many slots failed as a whole.
func isOfAll(err error) bool {
	var ofSlots SlotErrors
	return err != nil && !errors.As(err, &ofSlots)
}

func isOfSlot(err error) bool { return !ConcernsStore(err) }
