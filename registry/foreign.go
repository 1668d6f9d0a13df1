// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxSaid bounds what is repeated of an error that a server answered.
const maxSaid = 256

// ellipsis ends a text that was clipped.
const ellipsis = "…"

// printable returns a text of a server as people may see it. It is at most limit bytes long, an
// ellipsis included, because fields of the API have bounds. A '?' replaces whatever a terminal
// could take for a command, or does not show.
func printable(text string, limit int) string {
	clipped := clip(text, limit)
	shown := strings.Map(func(c rune) rune {
		if c == utf8.RuneError || !unicode.IsPrint(c) {
			return '?'
		}
		return c
	}, clipped)
	if len(clipped) < len(text) {
		shown += ellipsis
	}
	return strings.Clone(shown)
}

// clip returns the beginning of a text that, with an ellipsis, fits into limit bytes. It cuts no
// character into pieces.
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := limit - len(ellipsis)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// said is an error in words that may be shown to people.
type said struct {
	text string
	err  error
}

// Error implements error.
func (s *said) Error() string { return s.text }

// Unwrap implements errors.Unwrap.
func (s *said) Unwrap() error { return s.err }

// presentable returns an error of the client, which may quote a server, in words that may be shown.
func presentable(err error) error {
	if isUndecodable(err) {
		return &said{text: "a reply is of another kind than the command has", err: err}
	}
	if !isReply(err) {
		return err
	}
	if text := err.Error(); text != printable(text, maxSaid) {
		return &said{text: printable(text, maxSaid), err: err}
	}
	return err
}

// undecodable is how messages of go-redis begin where a reply is not what the command has. They quote it.
var undecodable = []string{
	"redis: can't parse", "redis: invalid", "redis: got ", "redis: unexpected", "redis: RESP3 map key", "redis: unsupported",
	"redis: empty push", "redis: negative push", "redis: can't read", "bigInt(", "strconv.", "got ",
}

// isUndecodable says that the client could not make of a reply what the command has. It has no error for that.
func isUndecodable(err error) bool {
	if isReply(err) {
		return false
	}
	text := err.Error()
	for _, beginning := range undecodable {
		if strings.HasPrefix(text, beginning) {
			return true
		}
	}
	return false
}
