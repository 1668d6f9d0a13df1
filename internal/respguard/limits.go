// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package respguard

import "time"

// Limits bound each reply, and each push, of a server.
type Limits struct {
	// Bytes of all strings and lines of a reply together.
	Bytes int64
	// StringBytes of one string.
	StringBytes int64
	// Elements of all arrays, sets and maps of a reply together; an entry of a map is two.
	Elements int64
	// Depth to which arrays, sets and maps are nested in each other.
	Depth int
	// Pushes between two replies. They and the reply after them share the other limits. 0: any number, each within the
	// other limits, as where invalidations come for as long as the client asks nothing.
	Pushes int
}

// greeting are the limits of the first reply, which is to HELLO, and of pushes before it: by then nothing shows that it is
// Redis that answers.
var greeting = Limits{Bytes: 64 << 10, StringBytes: 16 << 10, Elements: 1 << 10, Depth: 8}

// within returns the tighter limits of two. The pushes are those of l.
func (l Limits) within(other Limits) Limits {
	return Limits{
		Bytes: min(l.Bytes, other.Bytes), StringBytes: min(l.StringBytes, other.StringBytes),
		Elements: min(l.Elements, other.Elements), Depth: min(l.Depth, other.Depth), Pushes: l.Pushes,
	}
}

// fewPushes are more than Redis sends to a client that neither subscribes nor tracks: none, apart from notices of maintenance.
const fewPushes = 64

// Operator are the limits of the operator, which reads policies and figures, no entries. The longest reply is that of
// statistics: some twenty elements for each of up to 1,256 operations.
var Operator = Limits{Bytes: 4 << 20, StringBytes: 4 << 20, Elements: 64 << 10, Depth: 8, Pushes: fewPushes}

// Sentinel are the limits of connections to Sentinels, of which only the address of a primary is asked.
var Sentinel = Limits{Bytes: 256 << 10, StringBytes: 64 << 10, Elements: 4 << 10, Depth: 8, Pushes: fewPushes}

// Application are the limits of an application, which reads entries, many of them in one reply where reads are batched.
var Application = Limits{Bytes: 4 * maxEntry, StringBytes: maxEntry, Elements: 1 << 20, Depth: 8}

const (
	// maxEntry is the largest payload that a policy allows, and its header.
	maxEntry = 64<<20 + 64<<10
	// maxLine bounds a status or an error: Redis clips what it quotes in one.
	maxLine = 16 << 10
	// maxShortLine bounds numbers and booleans. A big number may have more digits than an int64.
	maxShortLine = 512
	// maxDigits of a length: more than any limit has.
	maxDigits = 12
	// maxDepth bounds what Limits may allow.
	maxDepth = 16
	// replyTime is how long a reply that has begun may take where the client set no deadline.
	replyTime = 10 * time.Second
)

// Violation says how a server broke the protocol or a limit. It holds nothing that the server sent.
type Violation struct{ how string }

// Error implements error.
func (v *Violation) Error() string { return v.how }

var (
	errNotRESP     = &Violation{"what answers does not speak the protocol of Redis; the address may be that of another service"}
	errLine        = &Violation{"a line of a reply does not end where it must"}
	errLongLine    = &Violation{"a status, an error or a number of a reply is longer than any of Redis"}
	errLength      = &Violation{"a reply has a length that is no number, or below zero"}
	errPush        = &Violation{"a push is within a reply"}
	errPushes      = &Violation{"more pushes come than a client gets that subscribed to nothing"}
	errString      = &Violation{"a string of a reply exceeds the limit of bytes"}
	errBytes       = &Violation{"a reply exceeds the limit of bytes"}
	errElements    = &Violation{"a reply exceeds the limit of elements"}
	errDepth       = &Violation{"a reply is nested more deeply than the limit"}
	errUnsupported = &Violation{"a reply has attributes, or is streamed, which the client did not ask for"}
	errSlow        = &Violation{"a reply began and did not end in time"}
)
