// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package respguard

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
)

// model judges a whole stream at once, by recursion.
type model struct {
	rest            []byte
	bytes, elements int64
}

type outcome int

const (
	fine outcome = iota
	unfinished
	wrong
)

func judge(stream []byte) outcome {
	m := model{rest: stream}
	for len(m.rest) > 0 {
		m.bytes, m.elements = 0, 0
		if v := m.element(0); v != fine {
			return v
		}
	}
	return fine
}

func (m *model) element(depth int) outcome {
	if len(m.rest) == 0 {
		return unfinished
	}
	kind := m.rest[0]
	if !strings.ContainsRune("+-:,#(_$!=*~>%", rune(kind)) || kind == '>' && depth > 0 {
		return wrong
	}
	m.rest = m.rest[1:]
	limit := maxDigits + 1
	switch kind {
	case '+', '-':
		limit = maxLine
	case ':', ',', '#', '(', '_':
		limit = maxShortLine
	}
	aLine, v := m.line(limit)
	if v != fine {
		return v
	}
	if limit != maxDigits+1 {
		m.bytes += int64(len(aLine))
		return m.within()
	}
	if aLine == "-1" && (kind == '$' || kind == '*') {
		return fine
	}
	length, err := strconv.ParseUint(aLine, 10, 63)
	if err != nil {
		return wrong
	}
	switch kind {
	case '$', '!', '=':
		return m.text(int64(length))
	case '%':
		return m.list(2*int64(length), depth)
	default:
		return m.list(int64(length), depth)
	}
}

// line cuts a line off. Of one that is not there yet it says whether it can still become one.
func (m *model) line(limit int) (string, outcome) {
	end := bytes.IndexAny(m.rest, "\r\n")
	aLine := m.rest
	if end >= 0 {
		aLine = m.rest[:end]
	}
	isLength := limit == maxDigits+1
	digits := bytes.TrimPrefix(aLine, []byte("-"))
	switch {
	case len(aLine) > limit, isLength && (len(digits) > maxDigits || bytes.Trim(digits, "0123456789") != nil):
		return "", wrong
	case end < 0:
		return "", unfinished
	case m.rest[end] == '\n', isLength && len(digits) == 0:
		return "", wrong
	}
	m.rest = m.rest[end+1:]
	if len(m.rest) == 0 {
		return "", unfinished
	}
	if m.rest[0] != '\n' {
		return "", wrong
	}
	m.rest = m.rest[1:]
	return string(aLine), fine
}

func (m *model) within() outcome {
	if m.bytes > testLimits.Bytes || m.elements > testLimits.Elements {
		return wrong
	}
	return fine
}

func (m *model) text(length int64) outcome {
	m.bytes += length
	if length > testLimits.StringBytes || m.within() != fine {
		return wrong
	}
	if int64(len(m.rest)) < length {
		m.rest = nil
		return unfinished
	}
	m.rest = m.rest[length:]
	for _, c := range []byte("\r\n") {
		if len(m.rest) == 0 {
			return unfinished
		}
		if m.rest[0] != c {
			return wrong
		}
		m.rest = m.rest[1:]
	}
	return fine
}

func (m *model) list(elements int64, depth int) outcome {
	m.elements += elements
	if depth >= testLimits.Depth || m.within() != fine {
		return wrong
	}
	for range elements {
		if v := m.element(depth + 1); v != fine {
			return v
		}
	}
	return fine
}

// FuzzScanner holds the scanner, fed in two parts, against the model.
func FuzzScanner(f *testing.F) {
	for i, test := range streams {
		f.Add([]byte(test.stream), uint(i))
	}
	f.Fuzz(func(t *testing.T, stream []byte, at uint) {
		want := judge(stream)
		violation, between := scanned(string(stream), int(at%uint(len(stream)+1)))
		got := fine
		switch {
		case violation != nil:
			got = wrong
		case !between:
			got = unfinished
		}
		if got != want {
			t.Errorf("%q, split at %d: %d (%v), by the model %d", stream, at, got, violation, want)
		}
	})
}
