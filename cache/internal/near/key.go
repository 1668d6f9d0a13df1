// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package near

import "github.com/cachewright/cachewright/registry"

// maxPlainBytes is the longest text that a key holds instead of its digest.
const maxPlainBytes = 64

// Key names an entry. It holds plain params themselves, so that a hit needs no digest.
type Key struct {
	module, operation, user string
	params                  any
}

// digest stands for params that are not plain.
type digest string

// PlainKey returns the key of an entry if its params need no digest.
func PlainKey(module, operation, user string, params any) (Key, bool) {
	plain := Key{module: module, operation: operation, user: user, params: params}
	switch params := params.(type) {
	case string:
		return plain, len(params) <= maxPlainBytes
	case nil, bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return plain, true
	default:
		return Key{}, false
	}
}

// DigestKey returns the key of an entry whose params are not plain.
func DigestKey(key registry.Key) Key {
	return Key{module: key.Module, operation: key.Operation, user: key.User, params: digest(key.ID)}
}

// bytes returns how many bytes the texts of a key take. The entries of a module share its name.
func (k Key) bytes() int {
	size := len(k.operation) + len(k.user)
	switch params := k.params.(type) {
	case string:
		size += len(params)
	case digest:
		size += len(params)
	}
	return size
}
