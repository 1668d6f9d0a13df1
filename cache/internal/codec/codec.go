// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package codec encodes and decodes the values of entries.
package codec

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/cachewright/cachewright/cache/internal/dest"
	"github.com/cachewright/cachewright/cache/internal/redact"
)

// Codec is cache.Codec.
type Codec interface {
	Marshal(value any) ([]byte, error)
	Unmarshal(data []byte, out any) error
}

// ErrCodec is cache.ErrCodec.
var ErrCodec = errors.New("codec")

// Encode encodes a value. The message of the error quotes nothing of it.
func Encode(codec Codec, value any) ([]byte, error) {
	payload, err := codec.Marshal(value)
	if err != nil {
		message := fmt.Sprintf("%v: a %T cannot be encoded by %T", ErrCodec, value, codec)
		return nil, redact.New(message, ErrCodec, err)
	}
	return payload, nil
}

// Decode makes out hold the value, and nothing of what it held before. After an error out holds
// nothing. Stored bytes of another version of the application are such an error.
func Decode(codec Codec, payload []byte, out any) error {
	dest.Clear(out)
	err := codec.Unmarshal(payload, out)
	if err == nil {
		return nil
	}
	dest.Clear(out)
	message := fmt.Sprintf("%v: a stored entry cannot be decoded by %T into a %T: "+
		"it was made from another type", ErrCodec, codec, out)
	return redact.New(message, ErrCodec, err)
}

// DecodeAs decodes a value of a type.
func DecodeAs(codec Codec, payload []byte, as reflect.Type) (any, error) {
	out := reflect.New(as)
	err := codec.Unmarshal(payload, out.Interface())
	return out.Elem().Interface(), err
}
