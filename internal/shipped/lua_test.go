// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package shipped

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/internal/kubetest"
)

// maxWords of a sentence, as in hack/prose/styles, which knows no Lua.
const maxWords = 25

var (
	luaComment = regexp.MustCompile(`^\s*-- ?(.*)$`)
	// luaRow begins a row of a header: KEYS, ARGV, reply, or a field with what it means.
	luaRow      = regexp.MustCompile(`^ {2,}\S+ {2,}`)
	endOfClause = regexp.MustCompile(`[.!?;](\s|$)`)
	endOfPhrase = regexp.MustCompile(`[.!?](\s|$)`)
)

// luaText is a paragraph of a comment, or a row of a header.
type luaText struct {
	line  int
	isRow bool
	words string
}

// luaTexts are the texts in the comments of a part of the library.
func luaTexts(source string) []luaText {
	var texts []luaText
	continues := false
	for i, line := range strings.Split(source, "\n") {
		comment := luaComment.FindStringSubmatch(line)
		if len(comment) == 0 || strings.Trim(comment[1], "- ") == "" {
			continues = false
			continue
		}
		isRow := luaRow.MatchString(comment[1])
		if !continues || isRow {
			texts = append(texts, luaText{line: i + 1, isRow: isRow})
		}
		continues = true
		texts[len(texts)-1].words += strings.TrimSpace(comment[1]) + " "
	}
	return texts
}

// longSentences returns the sentences with too many words. The clauses of a row count alone.
func (t luaText) longSentences() (long []string) {
	end := endOfPhrase
	if t.isRow {
		end = endOfClause
	}
	for _, sentence := range end.Split(t.words, -1) {
		if len(strings.Fields(sentence)) > maxWords {
			long = append(long, strings.TrimSpace(sentence))
		}
	}
	return long
}

func TestSentencesOfTheLibraryAreShort(t *testing.T) {
	root, err := kubetest.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	parts, err := filepath.Glob(filepath.Join(root, "registry", "lua", "*.lua"))
	if err != nil || len(parts) < 30 {
		t.Fatalf("found %d parts of the library (%v)", len(parts), err)
	}
	checked := 0
	for _, part := range parts {
		source, err := os.ReadFile(part)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range luaTexts(string(source)) {
			checked++
			for _, sentence := range text.longSentences() {
				t.Errorf("%s has a sentence of more than %d words: %s",
					fmt.Sprintf("%s:%d", filepath.Base(part), text.line), maxWords, sentence)
			}
		}
	}
	if checked < 100 {
		t.Errorf("only %d texts were checked", checked)
	}
}
