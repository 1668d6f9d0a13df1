// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package fault

import "reflect"

// field returns a number in a field of an error: the first one in the chain whose type has that
// name. Drivers that have no method for their code have such a field.
func field(err error, typeName, name string) (number uint64, found bool) {
	visit(err, func(err error) bool {
		value := reflect.ValueOf(err)
		if value.Kind() == reflect.Pointer && !value.IsNil() {
			value = value.Elem()
		}
		if value.Kind() != reflect.Struct || value.Type().Name() != typeName {
			return false
		}
		number, found = asNumber(value.FieldByName(name))
		return found
	})
	return number, found
}

func asNumber(value reflect.Value) (number uint64, ok bool) {
	switch {
	case !value.IsValid():
		return 0, false
	case value.CanUint():
		return value.Uint(), true
	case value.CanInt() && value.Int() >= 0:
		return uint64(value.Int()), true //nolint:gosec // it is not negative
	default:
		return 0, false
	}
}

// visit calls a function with each error of a chain, until it says that it is done.
func visit(err error, done func(error) bool) bool {
	if err == nil {
		return false
	}
	if done(err) {
		return true
	}
	switch err := err.(type) { //nolint:errorlint // it walks the chain itself
	case interface{ Unwrap() error }:
		return visit(err.Unwrap(), done)
	case interface{ Unwrap() []error }:
		for _, wrapped := range err.Unwrap() {
			if visit(wrapped, done) {
				return true
			}
		}
	}
	return false
}
