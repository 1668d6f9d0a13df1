// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package params

import (
	"encoding"
	"encoding/json"
	"reflect"
)

// unexportedField returns the name of the first field that JSON silently leaves out of a value
// because it is not exported, or "". Params that differ only there would share an entry, and one
// caller would get another's data. The value must have no cycles.
func unexportedField(value any) string {
	switch value.(type) {
	case nil, string, bool, int, int64, uint64, float64, []string, map[string]string:
		return ""
	}
	return unexportedIn(reflect.ValueOf(value))
}

func unexportedIn(v reflect.Value) string {
	if !v.IsValid() || isPlain(v.Type()) || marshalsItself(v) {
		return ""
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return unexportedIn(v.Elem())
	case reflect.Struct:
		return unexportedInStruct(v)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if field := unexportedIn(v.Index(i)); field != "" {
				return field
			}
		}
	case reflect.Map:
		for elements := v.MapRange(); elements.Next(); {
			if field := unexportedIn(elements.Value()); field != "" {
				return field
			}
		}
	}
	return ""
}

func unexportedInStruct(v reflect.Value) string {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Tag.Get("json") == "-" {
			continue
		}
		if !field.IsExported() && !isEmbeddedStruct(field) {
			return v.Type().String() + "." + field.Name
		}
		if name := unexportedIn(v.Field(i)); name != "" {
			return name
		}
	}
	return ""
}

// isEmbeddedStruct reports whether JSON includes the exported fields of an embedded field. It does
// so even if the type of that field is not exported.
func isEmbeddedStruct(field reflect.StructField) bool {
	t := field.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return field.Anonymous && t.Kind() == reflect.Struct
}

// isPlain reports whether no value of the type can contain a struct.
func isPlain(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct, reflect.Interface:
		return false
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		switch t.Elem().Kind() {
		case reflect.Struct, reflect.Interface, reflect.Pointer, reflect.Slice, reflect.Array,
			reflect.Map:
			return false
		}
	}
	return true
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// marshalsItself reports whether a method of the value's type decides what its JSON contains.
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
