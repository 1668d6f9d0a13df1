// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package sloterr

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
)

// Errors of single slots in a call on many. Package registry exports and documents them.
type Errors map[keyspace.Slot]error

// Error implements error.
func (e Errors) Error() string {
	first := First(e)
	if len(e) == 1 {
		return first.Error()
	}
	return fmt.Sprintf("%v (and %d others)", first, len(e)-1)
}

// Unwrap makes errors.Is match any of the errors.
func (e Errors) Unwrap() []error { return slices.Collect(maps.Values(e)) }

// Take adds the errors of single slots in err. It returns err if that is another error.
func (e Errors) Take(err error) error {
	var ofSlots Errors
	if !errors.As(err, &ofSlots) {
		return err
	}
	maps.Copy(e, ofSlots)
	return nil
}

// OrNil returns the errors as an error, or nil if there are none.
func (e Errors) OrNil() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// OfAll returns the errors of a call on so many slots as an error. If every slot failed because of
// the store, it returns one such error.
func OfAll(e Errors, slots int) error {
	if len(e) > 0 && len(e) == slots && !slices.ContainsFunc(e.Unwrap(), isOfSlot) {
		return First(e)
	}
	return e.OrNil()
}

// First returns the error of the first slot by name; nil: there are none.
func First(e Errors) error {
	if len(e) == 0 {
		return nil
	}
	return e[slices.MinFunc(slices.Collect(maps.Keys(e)), func(a, b keyspace.Slot) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Module, b.Module))
	})]
}

// IsOfAll says that a call on many slots failed as a whole.
func IsOfAll(err error) bool {
	var ofSlots Errors
	return err != nil && !errors.As(err, &ofSlots)
}

func isOfSlot(err error) bool { return !fault.ConcernsStore(err) }
