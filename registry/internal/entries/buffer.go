// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package entries

import (
	"sync"

	"github.com/cachewright/cachewright/registry/internal/wire"
)

// A payload is sent with padding in place of its header, so that Redis need not copy it to prepend
// one. That costs the client a copy. The copies use pooled buffers; otherwise fills would keep the
// garbage collector busy.

// headerOverToken is how much longer a header is than the token of its load.
const headerOverToken = 6

// maxPooledBuffer is the size of the largest buffer that is pooled, so that a few large payloads do
// not hold memory.
const maxPooledBuffer = 64 << 10

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// padded copies a payload behind padding for its header, and its schema if it has one.
func padded(payload []byte, schema string, padding int) *[]byte {
	buffer := buffers.Get().(*[]byte)
	*buffer = append((*buffer)[:0], make([]byte, padding)...)
	*buffer = wire.AppendSchema(*buffer, schema)
	*buffer = append(*buffer, payload...)
	return buffer
}

func release(buffer *[]byte) {
	if cap(*buffer) <= maxPooledBuffer {
		buffers.Put(buffer)
	}
}
