// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest

import (
	"fmt"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/internal/dest"
)

func encode(codec cache.Codec, value any) ([]byte, error) {
	payload, err := codec.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("%w: a %T cannot be encoded: %w", cache.ErrCodec, value, err)
	}
	return payload, nil
}

// decode replaces what out holds. After an error, out holds nothing.
func decode(codec cache.Codec, payload []byte, out any) error {
	dest.Clear(out)
	err := codec.Unmarshal(payload, out)
	if err != nil {
		dest.Clear(out)
	}
	return err
}
