// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestPrintableTextFitsAndCanBeShown(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := string(rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(rt, "bytes")) + rapid.String().Draw(rt, "text")
		limit := rapid.IntRange(len(ellipsis), 150).Draw(rt, "limit")
		shown := Printable(text, limit)
		if len(shown) > limit {
			rt.Errorf("%q takes %d bytes, more than %d", shown, len(shown), limit)
		}
		if !utf8.ValidString(shown) || strings.ContainsFunc(shown, func(c rune) bool { return !unicode.IsPrint(c) }) {
			rt.Errorf("%q cannot be shown", shown)
		}
		if again := Printable(shown, limit); again != shown {
			rt.Errorf("%q becomes %q the second time", shown, again)
		}
		if len(text) > limit && !strings.HasSuffix(shown, ellipsis) {
			rt.Errorf("%q does not say that it was clipped", shown)
		}
	})
}
