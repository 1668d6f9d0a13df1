// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	"github.com/gowebpki/jcs"
)

var (
	errNotUTF8 = errors.New("text in them is not valid UTF-8; pass []byte")
	errNumber  = errors.New("a number in them has an exponent that is too large")
)

// exact rewrites JSON so that its canonical form tells apart what RFC 8785 does not: numbers that
// round to the same double. See ID for how they are written. It also refuses the escape that
// json.Marshal puts in place of bytes that are not UTF-8, since any such bytes get the same.
func exact(text []byte) ([]byte, error) {
	out := make([]byte, 0, len(text)+16)
	for i := 0; i < len(text); {
		var end int
		switch c := text[i]; {
		case c == '"':
			end = i + stringLen(text[i:])
			if hasReplacement(text[i:end]) {
				return nil, errNotUTF8
			}
			out = appendString(out, text[i:end])
		case c == '-' || '0' <= c && c <= '9':
			end = i + numberLen(text[i:])
			var err error
			if out, err = appendNumber(out, string(text[i:end])); err != nil {
				return nil, err
			}
		default:
			end = i + 1
			out = append(out, c)
		}
		i = end
	}
	return out, nil
}

// stringLen returns the length of the string literal, quotes included, that valid JSON begins with.
func stringLen(text []byte) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

func numberLen(text []byte) int {
	if end := bytes.IndexFunc(text, func(c rune) bool { return !strings.ContainsRune("+-.eE0123456789", c) }); end >= 0 {
		return end
	}
	return len(text)
}

// hasReplacement looks for the escape of U+FFFD; the character itself json.Marshal does not escape.
func hasReplacement(literal []byte) bool {
	for i := 0; i+1 < len(literal); i++ {
		if literal[i] != '\\' {
			continue
		}
		i++ // the escaped character: if it is a backslash, it begins nothing
		if literal[i] == 'u' && len(literal) > i+4 && strings.EqualFold(string(literal[i+1:i+5]), "fffd") {
			return true
		}
	}
	return false
}

const escapedNUL = `\u0000`

func appendString(out, literal []byte) []byte {
	if bytes.HasPrefix(literal[1:], []byte(escapedNUL)) {
		out = append(out, `"`+escapedNUL...)
		return append(out, literal[1:]...)
	}
	return append(out, literal...)
}

// safeDigits survive the way to a double and back, in any decimal.
const safeDigits = 15

func appendNumber(out []byte, literal string) ([]byte, error) {
	if len(literal) <= safeDigits && !strings.ContainsAny(literal, "eE") {
		return append(out, literal...), nil
	}
	own, err := decimal(literal)
	if err != nil {
		return nil, err
	}
	if double, err := strconv.ParseFloat(literal, 64); err == nil {
		canonical, err := jcs.NumberToJSON(double)
		if err != nil {
			return nil, err
		}
		if rounded, err := decimal(canonical); err == nil && rounded == own {
			return append(out, literal...), nil
		}
	}
	return append(out, `"`+escapedNUL+own+`"`...), nil
}

// decimal writes a JSON number in the only way that has neither leading nor trailing zeros:
// <digits>e<exponent>.
func decimal(literal string) (string, error) {
	sign := ""
	if unsigned, negative := strings.CutPrefix(literal, "-"); negative {
		sign, literal = "-", unsigned
	}
	mantissa, exponentText, scientific := strings.Cut(strings.ToLower(literal), "e")
	exponent := 0
	if scientific {
		var err error
		if exponent, err = strconv.Atoi(exponentText); err != nil {
			return "", errNumber
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	all := strings.TrimLeft(whole+fraction, "0")
	digits := strings.TrimRight(all, "0")
	if digits == "" {
		return "0e0", nil
	}
	exponent += len(all) - len(digits) - len(fraction)
	return sign + digits + "e" + strconv.Itoa(exponent), nil
}
