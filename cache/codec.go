// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import "encoding/json"

// Codec turns values into the bytes that are stored, and back. It must be safe for concurrent use.
// Neither method may share memory between value and bytes: several callers decode the same bytes.
//
// A value that does not survive is not stored: one that cannot be decoded, or comes back with less.
// JSON, for example, leaves out fields that are not exported. To find out, the first value of each
// operation and type is decoded when it is stored, then one in 64. After a loss, each is. It is a
// failure with ErrCodec that is logged and passed to WithFailureHook once. Later ones only count in
// OperationStats.Errors. A tag such as `json:"-"` says that a field does not matter. Types that
// encode and decode themselves are trusted, and so are differences within interfaces.
type Codec interface {
	Marshal(value any) ([]byte, error)
	// Unmarshal decodes into dest, a non-nil pointer. It must fail on bytes that were not made from
	// such a value.
	Unmarshal(data []byte, dest any) error
}

// JSON is the default codec, encoding/json. It is lenient: fields that are missing or unknown are
// no error. After an incompatible change of a type, use another WithSchema.
type JSON struct{}

// Marshal is json.Marshal.
func (JSON) Marshal(value any) ([]byte, error) { return json.Marshal(value) }

// Unmarshal is json.Unmarshal.
func (JSON) Unmarshal(data []byte, dest any) error { return json.Unmarshal(data, dest) }
