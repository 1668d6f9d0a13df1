// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"encoding/binary"
	"time"
)

// The bytes of an entry, as docs/protocol.md specifies them: version, flags, fresh-until, the
// epochs of the heads that covered it when its load began, payload.
const (
	entryVersion   = 1
	flagUser       = 1
	epochLen       = 11
	headerFixedLen = 10
)

// liveEntry is what a reader gets out of an entry's bytes.
type liveEntry struct {
	payload    []byte
	freshUntil time.Time
}

// decodeLive returns the entry if its bytes are well formed and carry exactly the epochs in the
// heads: the module's, the operation's and, for a user's entry, the user's. Anything else (no
// entry, a missing head, a foreign or truncated value) is a miss, never an error.
func decodeLive(value string, heads ...string) (liveEntry, bool) {
	flags := byte(0)
	if len(heads) == 3 {
		flags = flagUser
	}
	headerLen := headerFixedLen + len(heads)*epochLen
	if len(value) < headerLen || value[0] != entryVersion || value[1] != flags {
		return liveEntry{}, false
	}
	for i, head := range heads {
		at := headerFixedLen + i*epochLen
		if len(head) < epochLen || value[at:at+epochLen] != head[:epochLen] {
			return liveEntry{}, false
		}
	}
	millis := binary.BigEndian.Uint64([]byte(value[2:headerFixedLen]))
	return liveEntry{
		payload:    []byte(value[headerLen:]),
		freshUntil: time.UnixMilli(int64(min(millis, 1<<53))),
	}, true
}
