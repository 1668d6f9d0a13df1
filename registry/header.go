// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"encoding/binary"
	"time"
)

// The bytes of an entry, as docs/protocol.md specifies them: version, flags, fresh-until, a
// slice of the index (the library's own), the epochs and soft epochs of the heads that covered it when its load began, payload.
const (
	entryVersion      = 1
	flagUser          = 1
	flagNegative      = 2
	flagSoftModule    = 16
	flagSoftOperation = 32
	flagSoftUser      = 64
	knownFlags        = flagUser | flagNegative | flagSoftModule | flagSoftOperation | flagSoftUser

	epochLen       = 11
	sliceAt        = 10 // until here, what says for how long an entry is fresh
	headerFixedLen = 18
)

// headParts says where a head, by its place among those that cover an entry, holds its soft epoch.
var headParts = [...]struct {
	softAt   int
	softFlag byte
}{
	{epochLen, flagSoftModule},
	{2 * epochLen, flagSoftOperation}, // the fence lies between
	{epochLen, flagSoftUser},
}

// liveEntry is what a reader gets out of an entry's bytes.
type liveEntry struct {
	payload    string
	freshUntil time.Time
	softStale  bool
	negative   bool
}

// decodeLive returns the entry if its bytes are well formed and carry exactly the epochs in the
// heads: the module's, the operation's and, for a user's entry, the user's. Anything else (no
// entry, a missing head, a foreign or truncated value) is a miss, never an error.
func decodeLive(value string, heads ...string) (liveEntry, bool) {
	if len(value) < headerFixedLen || value[0] != entryVersion {
		return liveEntry{}, false
	}
	flags := value[1]
	ofUser := len(heads) == 3
	if flags&^knownFlags != 0 || (flags&flagUser != 0) != ofUser || (flags&flagSoftUser != 0 && !ofUser) {
		return liveEntry{}, false
	}
	rest, live := cutEpochs(value[headerFixedLen:], heads)
	if !live {
		return liveEntry{}, false
	}
	payload, softStale, ok := cutSoftEpochs(rest, flags, heads)
	if !ok {
		return liveEntry{}, false
	}
	var stamp [8]byte
	copy(stamp[:], value[2:sliceAt])
	millis := binary.BigEndian.Uint64(stamp[:])
	return liveEntry{
		payload:    payload,
		freshUntil: time.UnixMilli(int64(min(millis, 1<<53))),
		softStale:  softStale,
		negative:   flags&flagNegative != 0,
	}, true
}

// cutEpochs compares the epochs that an entry carries with those in the heads.
func cutEpochs(carried string, heads []string) (rest string, live bool) {
	for i, head := range heads {
		if len(carried) < epochLen || !isHead(i, head) || carried[:epochLen] != head[:epochLen] {
			return "", false
		}
		carried = carried[epochLen:]
	}
	return carried, true
}

// isHead says whether these bytes can be a head: whole, with or without a soft epoch. Others count as missing.
func isHead(i int, head string) bool {
	hard := headParts[i].softAt
	return len(head) == hard || len(head) == hard+epochLen
}

// cutSoftEpochs compares the soft epochs that an entry carries with those in the heads, which have
// none before a first soft invalidation. It fails on a truncated entry.
func cutSoftEpochs(carried string, flags byte, heads []string) (payload string, stale, ok bool) {
	for i, head := range heads {
		part := headParts[i]
		own := ""
		if flags&part.softFlag != 0 {
			if len(carried) < epochLen {
				return "", false, false
			}
			own, carried = carried[:epochLen], carried[epochLen:]
		}
		if own != head[part.softAt:] {
			stale = true
		}
	}
	return carried, stale, true
}
