// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package dest handles the destinations into which values are read: pointers, as for
// json.Unmarshal.
package dest

import (
	"errors"
	"fmt"
	"reflect"
)

var errNoPointer = errors.New("the destination must be a non-nil pointer")

// Check returns an error unless dest is a non-nil pointer.
func Check(dest any) error {
	if target := reflect.ValueOf(dest); target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("%w, not %T", errNoPointer, dest)
	}
	return nil
}

// Set makes the destination hold a value. It fails if their types differ.
func Set(dest, value any) error {
	if err := Check(dest); err != nil {
		return err
	}
	target := reflect.ValueOf(dest).Elem()
	if value == nil {
		target.SetZero()
		return nil
	}
	source := reflect.ValueOf(value)
	if !source.Type().AssignableTo(target.Type()) {
		return fmt.Errorf("the value is a %T, the destination a %T", value, dest)
	}
	target.Set(source)
	return nil
}

// Clear sets the destination to its zero value. Decoders such as json.Unmarshal write into what a
// destination already points at. That would merge the value with the one before, which others may
// share, or with the rest of a decoding that failed.
func Clear(dest any) {
	reflect.ValueOf(dest).Elem().SetZero()
}
