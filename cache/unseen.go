// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"encoding"
	"encoding/json"
	"reflect"
)

// unseenField returns the first field in a value that JSON silently leaves out because it is not
// exported, or "". Two params that differ only there would share an entry: one caller would be
// given what belongs to another. The value must have no cycles.
func unseenField(value any) string {
	switch value.(type) {
	case nil, string, bool, int, int64, uint64, float64, []string, map[string]string:
		return ""
	}
	return unseenIn(reflect.ValueOf(value))
}

func unseenIn(v reflect.Value) string {
	if !v.IsValid() || isPlain(v.Type()) || marshalsItself(v) {
		return ""
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return unseenIn(v.Elem())
	case reflect.Struct:
		return unseenInStruct(v)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if field := unseenIn(v.Index(i)); field != "" {
				return field
			}
		}
	case reflect.Map:
		for elements := v.MapRange(); elements.Next(); {
			if field := unseenIn(elements.Value()); field != "" {
				return field
			}
		}
	}
	return ""
}

func unseenInStruct(v reflect.Value) string {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Tag.Get("json") == "-" {
			continue
		}
		if !field.IsExported() && !isEmbeddedStruct(field) {
			return v.Type().String() + "." + field.Name
		}
		if unseen := unseenIn(v.Field(i)); unseen != "" {
			return unseen
		}
	}
	return ""
}

// isEmbeddedStruct says that JSON takes the exported fields of a field, whether its type is exported
// or not.
func isEmbeddedStruct(field reflect.StructField) bool {
	t := field.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return field.Anonymous && t.Kind() == reflect.Struct
}

// isPlain says that no value of the type can contain a struct.
func isPlain(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct, reflect.Interface:
		return false
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		switch t.Elem().Kind() {
		case reflect.Struct, reflect.Interface, reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
			return false
		}
	}
	return true
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// marshalsItself says that what JSON sees of a value is its author's decision.
func marshalsItself(v reflect.Value) bool {
	t := v.Type()
	if t.Implements(jsonMarshaler) || t.Implements(textMarshaler) {
		return true
	}
	if !v.CanAddr() {
		return false
	}
	t = reflect.PointerTo(t)
	return t.Implements(jsonMarshaler) || t.Implements(textMarshaler)
}
