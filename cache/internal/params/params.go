// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package params turns the params of an operation into the ID in the key of its entry.
package params

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/gowebpki/jcs"

	"github.com/cachewright/cachewright/cache/internal/redact"
)

// idBytes is how much of the digest is kept. With 144 bits no two params will share an ID in
// practice. They encode to 24 characters without padding.
const idBytes = 18

// ErrParams is cache.ErrParams.
var ErrParams = errors.New("params cannot name an entry")

// Named returns the ID of params. Its error is ErrParams and names their type.
func Named(params any) (string, error) {
	id, err := ID(params)
	if err != nil {
		return "", fmt.Errorf("%w: %T: %w", ErrParams, params, err)
	}
	return id, nil
}

// ID returns the first idBytes of the SHA-256 of the canonical JSON of params, in base64url.
// cache.ID documents the details. The message of an error says what is wrong and quotes no value.
func ID(params any) (string, error) {
	if canonical, ok := plainJSON(params); ok {
		return digest(canonical), nil
	}
	text, err := json.Marshal(params)
	if err != nil {
		return "", redact.New(reason(err), err)
	}
	if field := unexportedField(params); field != "" {
		return "", errors.New("JSON leaves out the field " + field + ", which is not exported")
	}
	if text, err = exact(text); err != nil {
		return "", err
	}
	canonical, err := jcs.Transform(text)
	if err != nil {
		return "", redact.New("their JSON has no canonical form", err)
	}
	return digest(canonical), nil
}

func digest(canonical []byte) string {
	sum := sha256.Sum256(canonical)
	return base64.RawURLEncoding.EncodeToString(sum[:idBytes])
}

// plainJSON returns the canonical JSON of the most common params without encoding/json: small
// integers, and strings that need no escapes.
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

// reason returns the part of a json.Marshal error that names types only.
func reason(err error) string {
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
