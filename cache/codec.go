// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import "encoding/json"

// Codec turns values into the bytes that are stored, and back. It must be safe for concurrent use.
// Neither method may share memory between value and bytes: several callers decode the same bytes.
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
