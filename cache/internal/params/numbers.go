// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package params

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

// exact rewrites JSON so that different numbers have different canonical forms. By RFC 8785, they
// have the same form if they round to the same double. cache.ID documents how such numbers are
// written. It also rejects the escape that json.Marshal writes for bytes that are not UTF-8,
// because all such bytes get the same one.
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

// stringLen returns the length, including quotes, of the string literal at the start of valid JSON.
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
	if end := bytes.IndexFunc(text,
		func(c rune) bool { return !strings.ContainsRune("+-.eE0123456789", c) }); end >= 0 {
		return end
	}
	return len(text)
}

// hasReplacement reports whether a literal has the escape of U+FFFD. json.Marshal does not escape
// that character where it is genuine.
func hasReplacement(literal []byte) bool {
	for i := 0; i+1 < len(literal); i++ {
		if literal[i] != '\\' {
			continue
		}
		i++ // skip the escaped character, so that an escaped backslash starts no escape
		if literal[i] == 'u' && len(literal) > i+4 && strings.EqualFold(string(literal[i+1:i+5]),
			"fffd") {
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

// safeDigits is how many decimal digits survive the conversion to a double and back.
const safeDigits = 15

func appendNumber(out []byte, literal string) ([]byte, error) {
	if len(literal) <= safeDigits && !strings.ContainsAny(literal, "eE") {
		return append(out, literal...), nil
	}
	text, err := decimal(literal)
	if err != nil {
		return nil, err
	}
	if double, err := strconv.ParseFloat(literal, 64); err == nil {
		canonical, err := jcs.NumberToJSON(double)
		if err != nil {
			return nil, err
		}
		if rounded, err := decimal(canonical); err == nil && rounded == text {
			return append(out, literal...), nil
		}
	}
	return append(out, `"`+escapedNUL+text+`"`...), nil
}

// decimal writes a JSON number as <digits>e<exponent>, without leading or trailing zeros. Equal
// numbers have equal texts.
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
