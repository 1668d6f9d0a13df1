// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package heads

import (
	"crypto/sha1" //nolint:gosec // the protocol names entries by it; nobody is kept from anything
	"encoding/hex"
	"strconv"
)

// Bytes of an operation's head, and of its log of deletions: docs/protocol.md.
const (
	epochBytes  = 11
	fenceEnd    = 2 * epochBytes
	hexBytes    = 16 // of a digest
	recordBytes = epochBytes + hexBytes
	// shortTail and longTail are how many bytes of a log are read: with the head, and if that is
	// not enough. A reader may look back on 128 deletions.
	shortTail = 8 * recordBytes
	longTail  = 128 * recordBytes
)

// digest names an entry in the log of deletions.
type digest [hexBytes / 2]byte

// everything is the digest of the empty name: a change of the policy concerns all entries.
var everything = digestOfName(nil)

func digestOf(operation, user, id string) digest {
	name := make([]byte, 0, len("128:256:")+len(operation)+1+len(user)+1+len(id))
	for _, part := range []string{operation, user} {
		name = strconv.AppendInt(name, int64(len(part)), 10)
		name = append(append(append(name, ':'), part...), ':')
	}
	return digestOfName(append(name, id...))
}

func digestOfName(name []byte) digest {
	sum := sha1.Sum(name) //nolint:gosec // see the import
	return digest(sum[:hexBytes/2])
}

// differOnlyByFence says whether single entries were deleted between two values of the head of an
// operation, and nothing else happened.
func differOnlyByFence(before, now string) bool {
	return len(before) == len(now) && len(now) >= fenceEnd &&
		before[:epochBytes] == now[:epochBytes] && before[fenceEnd:] == now[fenceEnd:]
}

// deletedSince returns the entries that were deleted since an operation had this head. It reports
// false if the end of the log that was read does not tell.
func deletedSince(log, head string) (deleted []digest, told bool) {
	if len(log)%recordBytes != 0 {
		return nil, false
	}
	fence := head[epochBytes:fenceEnd]
	for ; log != ""; log = log[recordBytes:] {
		told = told || log[:epochBytes] == fence
		if !told {
			continue
		}
		var name digest
		_, err := hex.Decode(name[:], []byte(log[epochBytes:recordBytes]))
		if err != nil || name == everything {
			return nil, false
		}
		deleted = append(deleted, name)
	}
	return deleted, told
}
