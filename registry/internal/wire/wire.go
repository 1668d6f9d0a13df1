// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package wire decodes the bytes of an entry, as docs/protocol.md specifies them. They are:
// version, flags, fresh-until, position in the index, epochs and soft epochs, a schema if there is
// one, and the payload. The epochs are those of the heads that covered the entry when its load
// began.
package wire

import (
	"encoding/binary"
	"time"
)

const (
	entryVersion      = 1
	flagUser          = 1
	flagNegative      = 2
	flagSchema        = 4
	flagSoftModule    = 16
	flagSoftOperation = 32
	flagSoftUser      = 64
	knownFlags        = flagUser | flagNegative | flagSchema | flagSoftModule | flagSoftOperation |
		flagSoftUser

	// EpochLen is the length of an epoch, and of a fence, in bytes.
	EpochLen = 11

	// HeaderFixedLen is the length of the header before the epochs, in bytes.
	HeaderFixedLen = 18

	// MaxSchema is the length of the longest schema, in bytes.
	MaxSchema = 64

	sliceAt = 10 // fresh-until ends here
)

// headParts says where each of the heads that cover an entry has its soft epoch: module, operation,
// user.
var headParts = [...]struct {
	softAt   int
	softFlag byte
}{
	{EpochLen, flagSoftModule},
	{2 * EpochLen, flagSoftOperation}, // after the fence
	{EpochLen, flagSoftUser},
}

// Live is a live entry.
type Live struct {
	Payload string
	// Schema is the version of the payload, empty for none.
	Schema     string
	FreshUntil time.Time
	// SoftStale says that a soft invalidation covered it.
	SoftStale bool
	Negative  bool
}

// DecodeLive returns the entry if its bytes are well formed and carry exactly the epochs in the
// heads. The heads are the module's, the operation's and, for an entry of a user, the user's.
// Anything else is a miss, not an error: no entry, a missing head, a foreign or truncated value.
func DecodeLive(value string, heads ...string) (Live, bool) {
	if len(value) < HeaderFixedLen || value[0] != entryVersion {
		return Live{}, false
	}
	flags := value[1]
	ofUser := len(heads) == 3
	if flags&^knownFlags != 0 || (flags&flagUser != 0) != ofUser || (flags&flagSoftUser != 0 &&
		!ofUser) {
		return Live{}, false
	}
	rest, live := cutEpochs(value[HeaderFixedLen:], heads)
	if !live {
		return Live{}, false
	}
	rest, softStale, ok := cutSoftEpochs(rest, flags, heads)
	if !ok {
		return Live{}, false
	}
	schema, payload, ok := cutSchema(rest, flags)
	if !ok {
		return Live{}, false
	}
	var stamp [8]byte
	copy(stamp[:], value[2:sliceAt])
	millis := binary.BigEndian.Uint64(stamp[:])
	return Live{
		Payload:    payload,
		Schema:     schema,
		FreshUntil: time.UnixMilli(int64(min(millis, 1<<53))),
		SoftStale:  softStale,
		Negative:   flags&flagNegative != 0,
	}, true
}

// cutEpochs compares the epochs that an entry carries with those in the heads.
func cutEpochs(carried string, heads []string) (rest string, live bool) {
	for i, head := range heads {
		if len(carried) < EpochLen || !IsHead(i, head) || carried[:EpochLen] != head[:EpochLen] {
			return "", false
		}
		carried = carried[EpochLen:]
	}
	return carried, true
}

// IsHead says whether these bytes have the length of a head: of the module, the operation or the
// user, in this order. Others count as missing.
func IsHead(i int, head string) bool {
	hard := headParts[i].softAt
	return len(head) == hard || len(head) == hard+EpochLen
}

// cutSoftEpochs compares the soft epochs that an entry carries with those in the heads. Heads have
// none before their first soft invalidation. It fails on a truncated entry.
func cutSoftEpochs(carried string, flags byte, heads []string) (rest string, stale, ok bool) {
	for i, head := range heads {
		part := headParts[i]
		soft := ""
		if flags&part.softFlag != 0 {
			if len(carried) < EpochLen {
				return "", false, false
			}
			soft, carried = carried[:EpochLen], carried[EpochLen:]
		}
		if soft != head[part.softAt:] {
			stale = true
		}
	}
	return carried, stale, true
}

// AppendSchema appends what precedes a payload with a schema, of up to MaxSchema bytes: its length
// in a byte, and the schema. It appends nothing for none.
func AppendSchema(to []byte, schema string) []byte {
	if schema == "" {
		return to
	}
	return append(append(to, byte(len(schema))), schema...) //nolint:gosec // it is short enough
}

// cutSchema returns the schema of an entry and its payload. It fails on a truncated entry, and on a
// schema of no bytes.
func cutSchema(carried string, flags byte) (schema, payload string, ok bool) {
	if flags&flagSchema == 0 {
		return "", carried, true
	}
	if carried == "" || carried[0] == 0 || len(carried) <= int(carried[0]) {
		return "", "", false
	}
	end := 1 + int(carried[0])
	return carried[1:end], carried[end:], true
}
