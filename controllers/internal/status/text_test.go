// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"strings"
	"testing"
	"unicode/utf8"

	. "github.com/onsi/gomega"
	"pgregory.net/rapid"
)

func TestClipKeepsWithinItsLimitAndBetweenCharacters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, limit := rapid.String().Draw(t, "text"), rapid.IntRange(8, 40).Draw(t, "limit")
		got := Clip(text, limit)
		if len(got) > limit || !utf8.ValidString(got) || (len(text) <= limit && got != text) {
			t.Fatalf("clip(%q, %d) = %q", text, limit, got)
		}
	})
}

func TestMessagesHoldNoControlBytes(t *testing.T) {
	g := NewWithT(t)
	g.Expect(Shown("a\x1b[31mred\r\nb\u202ec\xff\x00")).To(Equal("a [31mred  b c\uFFFD "))
	g.Expect(len(Shown(strings.Repeat("\xff", maxMessage)))).To(BeNumerically("<=", maxMessage))
}
