// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package pages reads pages of the documentation, for the tests that do what the pages say.
package pages

import "regexp"

// Block is a fenced block: commands, a manifest, a program, or what they print.
type Block struct {
	// Language is the word behind the fence, or empty.
	Language string
	// Text ends with a newline.
	Text string
}

var fenced = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")

// Blocks returns the blocks of a page in their order.
func Blocks(page string) (blocks []Block) {
	for _, found := range fenced.FindAllStringSubmatch(page, -1) {
		blocks = append(blocks, Block{Language: found[1], Text: found[2]})
	}
	return blocks
}

// BlocksIn returns the texts of the blocks in a language.
func BlocksIn(language, page string) (texts []string) {
	for _, block := range Blocks(page) {
		if block.Language == language {
			texts = append(texts, block.Text)
		}
	}
	return texts
}

// Prose returns a page without its blocks.
func Prose(page string) string { return fenced.ReplaceAllString(page, "") }
