// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// maxMessage bounds the message of a condition or an event, in bytes.
const maxMessage = 900

// promise is what messages say of errors that are retried without anybody's help.
var promise = regexp.MustCompile(`[;,.]? ?[Ii]t is tried again[^.;]*`)

// WithoutPromise returns a message for when nothing is retried.
func WithoutPromise(message string) string { return promise.ReplaceAllString(message, "") }

// Clip shortens a text to so many bytes, between characters.
func Clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	const ellipsis = "…"
	cut := 0
	for at := range text {
		if at > limit-len(ellipsis) {
			break
		}
		cut = at
	}
	return text[:cut] + ellipsis
}

// Shown makes a text fit for a condition or an event, as others may have written parts of it. It is
// bounded, valid UTF-8, and has no characters that control a terminal or the direction of writing.
func Shown(text string) string { return Clip(clean(text), maxMessage) }

// clean replaces invisible characters by spaces.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) ||
			unicode.Is(unicode.Zp, r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}

// Sentences joins texts, without empty ones.
func Sentences(texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(text string) bool { return text == "" }), ". ")
}
