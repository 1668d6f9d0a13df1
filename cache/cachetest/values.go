// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest

import (
	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/internal/dest"
)

// decode replaces what out holds. After an error, out holds nothing.
func decode(codec cache.Codec, payload []byte, out any) error {
	dest.Clear(out)
	err := codec.Unmarshal(payload, out)
	if err != nil {
		dest.Clear(out)
	}
	return err
}
