// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxQuoted bounds what is quoted of an error reply, in bytes.
const maxQuoted = 256

// ellipsis ends a text that was clipped.
const ellipsis = "…"

// Printable returns a text of a server as it may be shown to people. It is at most limit bytes
// long, including an ellipsis, because fields of the API have bounds. A '?' replaces what a
// terminal does not show or could take for a command.
func Printable(text string, limit int) string {
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

// clip returns the beginning of a text that fits into limit bytes together with an ellipsis. It
// splits no character.
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

// redactedError has a text that may be shown to people in place of that of the error it wraps.
type redactedError struct {
	text string
	err  error
}

// Error implements error.
func (e *redactedError) Error() string { return e.text }

// Unwrap implements errors.Unwrap.
func (e *redactedError) Unwrap() error { return e.err }

// presentable returns an error of the client, which may quote a server, with a text that may be
// shown.
func presentable(err error) error {
	if isUndecodable(err) {
		return &redactedError{text: "a reply has another type than the command expects", err: err}
	}
	if !IsReply(err) {
		return err
	}
	if text := err.Error(); text != Printable(text, maxQuoted) {
		return &redactedError{text: Printable(text, maxQuoted), err: err}
	}
	return err
}

// undecodable has the beginnings of go-redis' messages about replies that it could not decode. They
// quote the reply.
var undecodable = []string{
	"redis: can't parse", "redis: invalid", "redis: got ", "redis: unexpected", "redis: RESP3 map key",
	"redis: unsupported",
	"redis: empty push", "redis: negative push", "redis: can't read", "bigInt(", "strconv.", "got ",
}

// isUndecodable says that the client could not decode a reply. go-redis has no error type for that.
func isUndecodable(err error) bool {
	if IsReply(err) {
		return false
	}
	text := err.Error()
	for _, prefix := range undecodable {
		if strings.HasPrefix(text, prefix) {
			return true
		}
	}
	return false
}
