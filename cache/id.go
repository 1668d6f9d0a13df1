// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

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
	if canonical, ok := plainJSON(params); ok {
		return digest(canonical), nil
	}
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
	return digest(canonical), nil
}

func digest(canonical []byte) string {
	sum := sha256.Sum256(canonical)
	return base64.RawURLEncoding.EncodeToString(sum[:idBytes])
}

// plainJSON is a short way to the canonical JSON of what params are most: a small integer, or a string that
// needs no escapes.
func plainJSON(params any) ([]byte, bool) {
	switch p := params.(type) {
	case string:
		return plainString(p)
	case int:
		return plainInteger(int64(p))
	case int64:
		return plainInteger(p)
	case int32:
		return plainInteger(int64(p))
	default:
		return nil, false
	}
}

func plainString(s string) ([]byte, bool) {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\' {
			return nil, false
		}
	}
	canonical := make([]byte, 0, len(s)+2)
	canonical = append(canonical, '"')
	canonical = append(canonical, s...)
	return append(canonical, '"'), true
}

func plainInteger(n int64) ([]byte, bool) {
	canonical := strconv.AppendInt(make([]byte, 0, 20), n, 10)
	return canonical, len(canonical) <= safeDigits
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
