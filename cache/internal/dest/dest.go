// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package dest handles the destinations that values are read into: pointers, as for json.Unmarshal.
package dest

import (
	"errors"
	"fmt"
	"reflect"
)

var errNoPointer = errors.New("the destination must be a non-nil pointer")

// Check refuses what cannot be read into.
func Check(dest any) error {
	if target := reflect.ValueOf(dest); target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("%w, not %T", errNoPointer, dest)
	}
	return nil
}

// Set makes the destination hold a value.
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

// Clear makes the destination hold nothing. Decoders write into what a destination points at already, as json.Unmarshal
// does: that would mix the value with the one before, which others may share, and so with a decoding that failed half-way.
func Clear(dest any) {
	reflect.ValueOf(dest).Elem().SetZero()
}
