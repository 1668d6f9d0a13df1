// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package respguard

import "bytes"

// state says what the next byte of a connection belongs to.
type state uint8

const (
	atType    state = iota // the first byte of an element
	inLength               // the digits of a length
	inLine                 // a status, an error or a number.
	atLineEnd              // the line feed that ends a line
	inString               // a string, or the two bytes that end it
)

// shape says what follows the type of an element.
type shape uint8

const (
	unknown   shape = iota
	line            // text
	shortLine       // a number or a boolean
	text            // a length and that many bytes.
	list            // a length and that many elements
	pairs           // a length and twice so many elements
	refused         // a part of RESP3 that our clients never request
)

var shapes = [256]shape{
	'+': line, '-': line,
	':': shortLine, ',': shortLine, '#': shortLine, '(': shortLine, '_': shortLine,
	'$': text, '!': text, '=': text,
	'*': list, '~': list, '>': list,
	'%': pairs,
	'|': refused, ';': refused, '.': refused,
}

// scanner follows the replies of one connection.
type scanner struct {
	limits Limits // now
	later  Limits // from the first reply on

	state state
	kind  byte
	// length so far, its number of digits, and whether it has a minus sign.
	length int64
	digits int
	minus  bool
	// line is the length of the line so far.
	line int
	// skip is how many bytes of a string and its end are still missing.
	skip int64

	// pushes since the last reply, including the current element if it is a push.
	pushes int
	push   bool

	// Of the current reply, and of pushes before it if their number is limited:
	bytes, elements int64
	depth           int
	open            [maxDepth]int64 // missing elements, by depth
}

// between says that the connection is between two replies.
func (s *scanner) between() bool { return s.state == atType && s.depth == 0 }

// scan scans what was read. After a violation, the scanner must not be used.
func (s *scanner) scan(p []byte) *Violation {
	for len(p) > 0 {
		var n int
		var violation *Violation
		switch s.state {
		case atType:
			if n = s.stepOver(p); n == 0 {
				n, violation = 1, s.begin(p[0])
			}
		case inLength:
			n, violation = s.readLength(p)
		case inLine:
			n, violation = s.readLine(p)
		case atLineEnd:
			n, violation = 1, s.endLine(p[0])
		case inString:
			n, violation = s.skipString(p)
		}
		if violation != nil {
			return violation
		}
		p = p[n:]
	}
	return nil
}

// stepOver skips a string that p contains completely, as most elements of a cache's replies. It
// returns the length with header and end; 0: the element must be scanned byte by byte.
func (s *scanner) stepOver(p []byte) int {
	if p[0] != '$' || s.depth == 0 {
		return 0
	}
	length, at := int64(0), int64(1)
	for ; at < int64(len(p)) && at <= maxDigits; at++ {
		digit := p[at] - '0'
		if digit > 9 {
			break
		}
		length = 10*length + int64(digit)
	}
	end := at + 2 + length
	if at == 1 || end+2 > int64(len(p)) || p[at] != '\r' || p[at+1] != '\n' || p[end] != '\r' ||
		p[end+1] != '\n' {
		return 0
	}
	if length > s.limits.StringBytes || s.bytes+length > s.limits.Bytes {
		return 0
	}
	s.bytes += length
	s.endElement()
	return int(end) + 2
}

func (s *scanner) begin(kind byte) *Violation {
	if s.depth == 0 {
		if violation := s.beginReply(kind == '>'); violation != nil {
			return violation
		}
	}
	s.kind = kind
	switch shapes[kind] {
	case line, shortLine:
		s.state, s.line = inLine, 0
	case text, list, pairs:
		if kind == '>' && s.depth > 0 {
			return errPush
		}
		s.state, s.length, s.digits, s.minus = inLength, 0, 0, false
	case refused:
		return errUnsupported
	default:
		return errNotRESP
	}
	return nil
}

func (s *scanner) readLength(p []byte) (int, *Violation) {
	for i, c := range p {
		switch {
		case c >= '0' && c <= '9':
			s.digits++
			if s.digits > maxDigits {
				return 0, s.tooMuch()
			}
			s.length = 10*s.length + int64(c-'0')
		case c == '-' && s.digits == 0 && !s.minus:
			s.minus = true
		case c == '\r' && s.digits > 0:
			s.state = atLineEnd
			return i + 1, nil
		case c == '?' && s.digits == 0:
			return 0, errUnsupported
		default:
			return 0, errLength
		}
	}
	return len(p), nil
}

// tooMuch is the violation of a length that no limit allows.
func (s *scanner) tooMuch() *Violation {
	if s.minus {
		return errLength
	}
	if shapes[s.kind] == text {
		return errString
	}
	return errElements
}

func (s *scanner) readLine(p []byte) (int, *Violation) {
	limit := maxLine
	if shapes[s.kind] == shortLine {
		limit = maxShortLine
	}
	end := bytes.IndexByte(p[:min(len(p), limit-s.line+1)], '\r')
	n := end
	if end < 0 {
		n = min(len(p), limit-s.line+1)
	}
	if bytes.IndexByte(p[:n], '\n') >= 0 {
		return 0, errLine
	}
	if s.line += n; s.line > limit {
		return 0, errLongLine
	}
	if end >= 0 {
		s.state = atLineEnd
		n++
	}
	return n, nil
}

func (s *scanner) endLine(c byte) *Violation {
	if c != '\n' {
		return errLine
	}
	switch shapes[s.kind] {
	case text:
		return s.enterString()
	case list:
		return s.enterList(s.length)
	case pairs:
		return s.enterList(2 * s.length)
	default:
		if s.bytes += int64(s.line); s.bytes > s.limits.Bytes {
			return errBytes
		}
		s.endElement()
		return nil
	}
}

// isNull says that the length is that of a null string or array in RESP2.
func (s *scanner) isNull() bool {
	return s.minus && s.digits == 1 && s.length == 1 && (s.kind == '$' || s.kind == '*')
}

func (s *scanner) enterString() *Violation {
	switch {
	case s.isNull():
		s.endElement()
		return nil
	case s.minus:
		return errLength
	case s.length > s.limits.StringBytes:
		return errString
	}
	if s.bytes += s.length; s.bytes > s.limits.Bytes {
		return errBytes
	}
	s.state, s.skip = inString, s.length+2
	return nil
}

func (s *scanner) enterList(elements int64) *Violation {
	switch {
	case s.isNull():
		s.endElement()
		return nil
	case s.minus:
		return errLength
	case s.depth >= min(s.limits.Depth, maxDepth):
		return errDepth
	}
	if s.elements += elements; s.elements > s.limits.Elements {
		return errElements
	}
	if elements == 0 {
		s.endElement()
		return nil
	}
	s.state = atType
	s.open[s.depth] = elements
	s.depth++
	return nil
}

// skipString skips a string and checks the two bytes that end it.
func (s *scanner) skipString(p []byte) (int, *Violation) {
	n := min(int64(len(p)), s.skip)
	if cr := s.skip - 2; cr >= 0 && cr < n && p[cr] != '\r' {
		return 0, errLine
	}
	if lf := s.skip - 1; lf < n && p[lf] != '\n' {
		return 0, errLine
	}
	if s.skip -= n; s.skip == 0 {
		s.endElement()
	}
	return int(n), nil
}

// endElement ends an element, and each list whose last element it is.
func (s *scanner) endElement() {
	s.state = atType
	for s.depth > 0 {
		s.open[s.depth-1]--
		if s.open[s.depth-1] > 0 {
			return
		}
		s.depth--
	}
	if !s.push {
		s.limits, s.pushes = s.later, 0
	}
}
