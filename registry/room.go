// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import "sync"

// A payload that is sent behind room for its header spares Redis to put one before it, which costs the client a copy.
// Copies are written into buffers that serve again: a fill would leave little else to the garbage collector.

// headerOverToken is by how much a header is longer than the token of its load.
const headerOverToken = 6

// keptBuffer is the largest buffer that is kept. A few large payloads are not to hold memory for ever.
const keptBuffer = 64 << 10

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// withRoom copies a payload to where it leaves room for a header. The copy is to be given back, unless it may be read
// after the call was given up.
func withRoom(payload []byte, token Token) *[]byte {
	room := len(token) + headerOverToken
	buffer := buffers.Get().(*[]byte)
	*buffer = append((*buffer)[:0], make([]byte, room)...)
	*buffer = append(*buffer, payload...)
	return buffer
}

func giveBack(buffer *[]byte) {
	if cap(*buffer) <= keptBuffer {
		buffers.Put(buffer)
	}
}
