// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package respguard

import (
	"strings"
	"testing"
)

var testLimits = Limits{Bytes: 40, StringBytes: 20, Elements: 12, Depth: 3}

// scanned is what became of a stream: the violation, or whether it ends between two replies.
func scanned(stream string, at int) (violation *Violation, between bool) {
	s := newScanner(testLimits)
	for _, part := range []string{stream[:at], stream[at:]} {
		if violation := s.scan([]byte(part)); violation != nil {
			return violation, false
		}
	}
	return nil, s.between()
}

var streams = []struct {
	name, stream string
	violation    *Violation
	unfinished   bool
}{
	{name: "nothing"},
	{name: "a status", stream: "+OK\r\n"},
	{name: "an empty status", stream: "+\r\n"},
	{name: "an error", stream: "-ERR no\r\n"},
	{name: "a number", stream: ":-12\r\n"},
	{name: "a string", stream: "$3\r\na\r\n\r\n"},
	{name: "an empty string", stream: "$0\r\n\r\n"},
	{name: "null of RESP2", stream: "$-1\r\n*-1\r\n"},
	{name: "null of RESP3", stream: "_\r\n"},
	{name: "boolean, double and big number", stream: "#t\r\n,1.5e3\r\n,inf\r\n(34928903284092385\r\n"},
	{name: "a verbatim string", stream: "=8\r\ntxt:some\r\n"},
	{name: "an error with a length", stream: "!5\r\nERR n\r\n"},
	{name: "an array", stream: "*2\r\n$1\r\na\r\n:1\r\n"},
	{name: "an empty array", stream: "*0\r\n"},
	{name: "empty arrays in an array", stream: "*2\r\n*0\r\n*0\r\n+OK\r\n"},
	{name: "a map and a set", stream: "%1\r\n+a\r\n~2\r\n:1\r\n:2\r\n"},
	{name: "as deep as allowed", stream: "*1\r\n*1\r\n*1\r\n:1\r\n:1\r\n"},
	{name: "as many elements as allowed", stream: "*12\r\n" + strings.Repeat(":1\r\n", 12)},
	{name: "limits hold for each reply", stream: strings.Repeat("*9\r\n"+strings.Repeat(":1\r\n", 9), 5)},
	{name: "a push between replies", stream: ":1\r\n>2\r\n+message\r\n+x\r\n:2\r\n"},
	{name: "as long a string as allowed", stream: "$20\r\n" + strings.Repeat("\r", 20) + "\r\n"},

	{name: "half a header", stream: "$1", unfinished: true},
	{name: "half a string", stream: "$5\r\nab", unfinished: true},
	{name: "half an array", stream: "*2\r\n:1\r\n", unfinished: true},

	{name: "another protocol", stream: "HTTP/1.1 400 Bad Request\r\n", violation: errNotRESP},
	{name: "an alert of TLS", stream: "\x15\x03\x01\x00\x02\x02\x46", violation: errNotRESP},
	{name: "another protocol within a reply", stream: "*2\r\n:1\r\nx", violation: errNotRESP},
	{name: "an empty line", stream: "\r\n", violation: errNotRESP},
	{name: "a string of all memory", stream: "$9223372036854775805\r\n", violation: errString},
	{name: "a string of more than a number holds", stream: "$99999999999999999999999\r\n", violation: errString},
	{name: "a string of 40 GiB", stream: "$42949672960\r\n", violation: errString},
	{name: "too long a string", stream: "$21\r\n", violation: errString},
	{name: "too long an error with a length", stream: "!21\r\n", violation: errString},
	{name: "too long a verbatim string", stream: "=21\r\n", violation: errString},
	{name: "strings that are too long together", stream: "*3\r\n$20\r\n" + strings.Repeat("a", 20) + "\r\n$20\r\n" + strings.Repeat("a", 20) + "\r\n$1\r\n", violation: errBytes},
	{name: "lines that are too long together", stream: "*2\r\n+" + strings.Repeat("a", 30) + "\r\n+" + strings.Repeat("a", 30) + "\r\n", violation: errBytes},
	{name: "too many elements", stream: "*13\r\n", violation: errElements},
	{name: "two billion elements", stream: "*2000000000\r\n", violation: errElements},
	{name: "more elements than a number holds", stream: "*99999999999999999999999\r\n", violation: errElements},
	{name: "too large a map", stream: "%7\r\n", violation: errElements},
	{name: "too large a push", stream: ">13\r\n", violation: errElements},
	{name: "too many elements together", stream: "*2\r\n*6\r\n" + strings.Repeat(":1\r\n", 6) + "*6\r\n", violation: errElements},
	{name: "too deep", stream: "*1\r\n*1\r\n*1\r\n*1\r\n", violation: errDepth},
	{name: "empty lists too deep", stream: "*1\r\n*1\r\n*1\r\n*0\r\n", violation: errDepth},
	{name: "a push within a reply", stream: "*1\r\n>1\r\n", violation: errPush},
	{name: "a length below zero", stream: "$-2\r\n", violation: errLength},
	{name: "a null map", stream: "%-1\r\n", violation: errLength},
	{name: "a null error", stream: "!-1\r\n", violation: errLength},
	{name: "minus zero", stream: "$-0\r\n", violation: errLength},
	{name: "no length", stream: "$\r\n", violation: errLength},
	{name: "only a minus", stream: "*-\r\n", violation: errLength},
	{name: "a length with a plus", stream: "$+1\r\n", violation: errLength},
	{name: "a length with a space", stream: "$ 1\r\n", violation: errLength},
	{name: "a length in hex", stream: "$0x1\r\n", violation: errLength},
	{name: "a long length below zero", stream: "$-99999999999999999\r\n", violation: errLength},
	{name: "a header that ends in a line feed", stream: "$1\na\r\n", violation: errLength},
	{name: "a line that ends in a line feed", stream: "+OK\n+OK\r\n", violation: errLine},
	{name: "a return without a line feed", stream: "+O\rK\r\n", violation: errLine},
	{name: "a string that is longer than it says", stream: "$1\r\nab\r\n", violation: errLine},
	{name: "a string that ends in half an end", stream: "$1\r\na\r\r\n", violation: errLine},
	{name: "an error without an end", stream: "-" + strings.Repeat("E", maxLine+1), violation: errLongLine},
	{name: "a number without an end", stream: ":" + strings.Repeat("1", maxShortLine+1), violation: errLongLine},
	{name: "a big number without an end", stream: "(" + strings.Repeat("1", maxShortLine+1), violation: errLongLine},
	{name: "attributes", stream: "|1\r\n", violation: errUnsupported},
	{name: "a streamed string", stream: "$?\r\n;1\r\na\r\n;0\r\n", violation: errUnsupported},
	{name: "a streamed array", stream: "*?\r\n:1\r\n.\r\n", violation: errUnsupported},
	{name: "the end of a streamed array", stream: ".\r\n", violation: errUnsupported},
}

func TestRepliesAreJudgedHoweverTheyArrive(t *testing.T) {
	for _, test := range streams {
		t.Run(test.name, func(t *testing.T) {
			for at := range len(test.stream) + 1 {
				violation, between := scanned(test.stream, at)
				if violation != test.violation || between != (test.violation == nil && !test.unfinished) {
					t.Fatalf("split at %d: %v, between replies: %t", at, violation, between)
				}
			}
		})
	}
}

// What a client allocates it allocates once it has read the end of a header.
func TestViolationIsFoundBeforeTheEndOfTheHeaderIsHandedOn(t *testing.T) {
	for _, header := range []string{"$21\r\n", "*13\r\n", "%7\r\n", "~13\r\n", ">13\r\n", "$9223372036854775805\r\n"} {
		s := newScanner(testLimits)
		for i, c := range []byte(header) {
			if violation := s.scan([]byte{c}); violation != nil {
				break
			} else if i == len(header)-1 {
				t.Errorf("%q passes", header)
			}
		}
	}
}

func TestViolationsHoldNothingOfTheReply(t *testing.T) {
	for _, stream := range []string{"HTTP/1.1 400 Bad Request\r\ntoken=secret", "+secret\n", "$secret\r\n"} {
		violation, _ := scanned(stream, 0)
		if violation == nil || strings.Contains(violation.Error(), "secret") || strings.Contains(violation.Error(), "HTTP") {
			t.Errorf("%q: %v", stream, violation)
		}
	}
}

// judged is what becomes of a stream under some limits.
func judged(stream string, limits Limits) *Violation {
	s := newScanner(limits)
	return s.scan([]byte(stream))
}

func TestPushesWithoutEndAreRefusedWhereNoneAreExpected(t *testing.T) {
	few := testLimits
	few.Pushes = 3
	const push = ">2\r\n+a\r\n:1\r\n"
	for name, test := range map[string]struct {
		stream string
		limits Limits
		want   *Violation
	}{
		"as many as allowed":             {strings.Repeat(push, 3) + "+OK\r\n", few, nil},
		"one more":                       {strings.Repeat(push, 4), few, errPushes},
		"one more, empty":                {strings.Repeat(">0\r\n", 4), few, errPushes},
		"a reply between":                {strings.Repeat(strings.Repeat(push, 3)+"+OK\r\n", 5), few, nil},
		"large ones":                     {strings.Repeat(">1\r\n$15\r\n"+strings.Repeat("a", 15)+"\r\n", 3), few, errBytes},
		"a large reply after them":       {">6\r\n" + strings.Repeat(":1\r\n", 6) + "*7\r\n", few, errElements},
		"where they are expected":        {strings.Repeat(push, 10_000), testLimits, nil},
		"without end to the operator":    {strings.Repeat(push, 1000), Operator, errPushes},
		"without end to who asks for it": {strings.Repeat(push, 1000), Application, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if violation := judged(test.stream, test.limits); violation != test.want {
				t.Errorf("%v, want %v", violation, test.want)
			}
		})
	}
}

// A server that may be anything has not yet been asked for more than which Redis it is.
func TestFirstReplyIsShort(t *testing.T) {
	for name, first := range map[string]struct {
		reply string
		want  *Violation
	}{
		"elements": {"%513\r\n", errElements},
		"a string": {"$16385\r\n", errString},
		"strings":  {"*5\r\n" + strings.Repeat("$16384\r\n"+strings.Repeat("a", 16384)+"\r\n", 5), errBytes},
		"a push":   {">1025\r\n", errElements},
	} {
		for _, limits := range []Limits{Operator, Application, Sentinel} {
			if violation := judged(first.reply, limits); violation != first.want {
				t.Errorf("%s: %v, want %v", name, violation, first.want)
			}
			if violation := judged(">0\r\n"+first.reply, limits); violation != first.want {
				t.Errorf("%s after a push: %v, want %v", name, violation, first.want)
			}
			if violation := judged("%1\r\n+proto\r\n:3\r\n"+first.reply, limits); violation != nil {
				t.Errorf("%s after the first reply: %v", name, violation)
			}
		}
	}
}
