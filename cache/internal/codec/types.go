// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"encoding"
	"encoding/gob"
	"encoding/json"
	"reflect"
	"strings"
)

// isEmpty reports whether nothing is lost if a codec leaves a value out.
func isEmpty(v reflect.Value) bool {
	if !v.IsValid() || v.IsZero() || hasNoElements(v) {
		return true
	}
	if v.Kind() != reflect.Pointer && v.Kind() != reflect.Interface {
		return false
	}
	return v.Elem().IsZero() || hasNoElements(v.Elem())
}

func hasNoElements(v reflect.Value) bool {
	return (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0
}

// isLeftOut reports whether a tag, such as `json:"-"`, leaves a field out on purpose.
func isLeftOut(field reflect.StructField) bool {
	return strings.Contains(string(field.Tag), `:"-"`)
}

// isEmbeddedStruct reports whether an encoding includes the exported fields of an embedded field,
// even if the type of that field is not exported.
func isEmbeddedStruct(field reflect.StructField) bool {
	t := field.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return field.Anonymous && t.Kind() == reflect.Struct
}

// ways are the pairs of methods by which types encode and decode themselves.
var ways = [][2]reflect.Type{
	{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler]()},
	{reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()},
	{reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.BinaryUnmarshaler]()},
	{reflect.TypeFor[gob.GobEncoder](), reflect.TypeFor[gob.GobDecoder]()},
}

// codesItself reports whether methods of a type decide what of it comes back, or whether it holds
// no data: locks, and messages of Protocol Buffers.
func codesItself(t reflect.Type) bool {
	if t.PkgPath() == "sync" || t.PkgPath() == "sync/atomic" {
		return true
	}
	pointer := reflect.PointerTo(t)
	for _, way := range ways {
		if pointer.Implements(way[0]) && pointer.Implements(way[1]) {
			return true
		}
	}
	_, isMessage := pointer.MethodByName("ProtoReflect")
	return isMessage
}
