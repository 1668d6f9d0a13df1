// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import entryid "github.com/cachewright/cachewright/cache/internal/params"

// Key addresses an entry.
type Key struct {
	// Module is the one whose CachePolicy applies, such as "users". Letters, digits, '.', '_' and
	// '-'.
	Module string
	// Operation of the module, such as "getById". 1 to 128 bytes.
	Operation string
	// Params of the operation, if it has any: any value that JSON can hold. Entries with different
	// params are different, as ID describes.
	Params any
	// User is the user whose entry it is: any bytes, up to 256. If it is empty, one entry serves
	// all users. Set it wherever the value depends on who asks, or users will see each other's
	// values.
	User string
}

// Scope is what an invalidation covers in a namespace: a module, or an operation of it, a user's
// entries in it, or both. With the user alone, it is that user's entries in every module.
type Scope struct {
	Module    string
	Operation string
	User      string
}

// ID returns the part of an entry's key that stands for the params of the operation. It is the
// first 18 bytes of the SHA-256 of their canonical JSON (RFC 8785), in base64url. Params of equal
// JSON have the same ID, whatever the order of their keys; any others have different IDs. Programs
// in other languages that do the same share the entries.
//
// Numbers that a double cannot hold, such as 9007199254740993, stay exact: they are written as the
// string "\u0000<digits>e<exponent>", as in "\u00009007199254740993e0". A string that begins with
// U+0000 gets a second U+0000 in front.
//
// The error is ErrParams if JSON cannot hold the params: functions, NaN, cycles, text that is not
// UTF-8. It is also ErrParams if JSON would leave out a field because it is not exported. A type
// with a MarshalJSON or MarshalText of its own may have such fields. Tag exported fields that
// should not count `json:"-"`. The message names types, never values.
func ID(params any) (string, error) { return entryid.Named(params) }
