// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gowebpki/jcs"
)

// idBytes of the digest are kept, 144 bits: no two params will ever be found to share them. They
// make 24 characters without padding.
const idBytes = 18

// ID returns what names the params of an operation in the key of its entry: the first 18 bytes of the
// SHA-256 of their canonical JSON (RFC 8785), in base64url. Params of equal JSON, whatever the order of
// their keys, have the same ID; any others have different ones. Programs in other languages that do
// the same share the entries.
//
// Numbers that a double cannot hold, such as 9007199254740993, are exact nevertheless: they are
// written as the string "\u0000<digits>e<exponent>", as in "\u00009007199254740993e0", and a string
// that begins with U+0000 gets a second one.
//
// ErrParams: JSON cannot hold the params (functions, NaN, cycles, text that is not UTF-8), or would
// leave out a part of them: a field that is not exported and not in a type with its own MarshalJSON or
// MarshalText. Tag exported fields that should not count `json:"-"`. The message names types, never values.
func ID(params any) (string, error) {
	text, err := json.Marshal(params)
	if err != nil {
		return "", paramsError(params, marshalReason(err), err)
	}
	if field := unseenField(params); field != "" {
		return "", paramsError(params, "JSON leaves out the field "+field+", which is not exported", nil)
	}
	if text, err = exact(text); err != nil {
		return "", paramsError(params, err.Error(), nil)
	}
	canonical, err := jcs.Transform(text)
	if err != nil {
		return "", paramsError(params, "their JSON has no canonical form", err)
	}
	digest := sha256.Sum256(canonical)
	return base64.RawURLEncoding.EncodeToString(digest[:idBytes]), nil
}

func paramsError(params any, reason string, cause error) error {
	return &quietError{
		message: fmt.Sprintf("%v: %T: %s", ErrParams, params, reason),
		kind:    ErrParams,
		cause:   cause,
	}
}

// marshalReason repeats of a json.Marshal error what cannot hold a value of the application's.
func marshalReason(err error) string {
	var ofType *json.UnsupportedTypeError
	var ofValue *json.UnsupportedValueError
	switch {
	case errors.As(err, &ofType):
		return ofType.Error()
	case errors.As(err, &ofValue):
		return ofValue.Error()
	default:
		return "a MarshalJSON or MarshalText method failed"
	}
}
