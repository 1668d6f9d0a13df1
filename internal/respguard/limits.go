// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package respguard

import "time"

// Limits bound each reply, and each push, of a server.
type Limits struct {
	// Bytes of all strings and lines of a reply in total.
	Bytes int64
	// StringBytes of one string.
	StringBytes int64
	// Elements of all arrays, sets and maps of a reply in total; an entry of a map is two.
	Elements int64
	// Depth to which arrays, sets and maps are nested in each other.
	Depth int
	// Pushes between two replies. They share the other limits with the reply after them. 0: any
	// number, each within the other limits; a connection that receives invalidations gets pushes as
	// long as the client is idle.
	Pushes int
}

// greeting has the limits of the first reply, which answers HELLO, and of pushes before it. Until
// then, nothing shows that the server is Redis.
var greeting = Limits{Bytes: 64 << 10, StringBytes: 16 << 10, Elements: 1 << 10, Depth: 8}

// within returns the tighter limits of two, but the pushes of l.
func (l Limits) within(other Limits) Limits {
	return Limits{
		Bytes: min(l.Bytes, other.Bytes), StringBytes: min(l.StringBytes, other.StringBytes),
		Elements: min(l.Elements, other.Elements), Depth: min(l.Depth, other.Depth), Pushes: l.Pushes,
	}
}

// maxPushes is more than Redis sends to a client that neither subscribes nor tracks: nothing but
// maintenance notifications.
const maxPushes = 64

// Operator has the limits of the operator, which reads policies and statistics but no entries. The
// longest reply has statistics: about twenty elements for each of up to 1,256 operations.
var Operator = Limits{
	Bytes: 4 << 20, StringBytes: 4 << 20, Elements: 64 << 10, Depth: 8, Pushes: maxPushes,
}

// Sentinel has the limits of connections to Sentinels, which only return the address of a primary.
var Sentinel = Limits{
	Bytes: 256 << 10, StringBytes: 64 << 10, Elements: 4 << 10, Depth: 8, Pushes: maxPushes,
}

// Application has the limits of an application, which reads entries: many of them in one reply if
// reads are batched.
var Application = Limits{Bytes: 4 * maxEntry, StringBytes: maxEntry, Elements: 1 << 20, Depth: 8}

const (
	// maxEntry is the size of the largest payload that a policy allows, with its header.
	maxEntry = 64<<20 + 64<<10
	// maxLine bounds a status or an error. Redis clips what it quotes in one.
	maxLine = 16 << 10
	// maxShortLine bounds numbers and booleans. A big number may have more digits than an int64.
	maxShortLine = 512
	// maxDigits of a length: more than any limit has.
	maxDigits = 12
	// maxDepth bounds what Limits may allow.
	maxDepth = 16
	// replyTimeout is how long a reply may take after its first byte if the client set no deadline.
	replyTimeout = 10 * time.Second
)

// Violation says how a server broke the protocol or a limit. It contains nothing that the server
// sent.
type Violation struct{ reason string }

// Error implements error.
func (v *Violation) Error() string { return v.reason }

var (
	errNotRESP = &Violation{"the server does not speak the protocol of Redis; the address may " +
		"be that of another service"}
	errLine        = &Violation{"a line of a reply is not terminated correctly"}
	errLongLine    = &Violation{"a status, an error or a number of a reply is too long"}
	errLength      = &Violation{"a reply has a length that is negative or not a number"}
	errPush        = &Violation{"a push is inside a reply"}
	errPushes      = &Violation{"there are more pushes than a client without subscriptions receives"}
	errString      = &Violation{"a string of a reply exceeds the limit of bytes"}
	errBytes       = &Violation{"a reply exceeds the limit of bytes"}
	errElements    = &Violation{"a reply exceeds the limit of elements"}
	errDepth       = &Violation{"a reply exceeds the limit of nesting"}
	errUnsupported = &Violation{"a reply has attributes, or is streamed, which the client did not " +
		"request"}
	errSlow = &Violation{"a reply did not end in time"}
)
