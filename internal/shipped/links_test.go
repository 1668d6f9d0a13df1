// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package shipped

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	fenced  = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	// notInAnchors are the characters that a heading's anchor leaves out.
	notInAnchors = regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)
)

// anchors returns the anchors of a page's headings, as sites that show Markdown make them.
func anchors(page string) map[string]bool {
	found := map[string]bool{}
	for _, match := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(page, ""), -1) {
		text := regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(match[1], "$1")
		text = notInAnchors.ReplaceAllString(strings.ToLower(strings.TrimSpace(text)), "")
		found[strings.ReplaceAll(text, " ", "-")] = true
	}
	return found
}

// Each link of a page leads to a file of the repository and, if it names one, to a heading there.
func TestLinksOfPagesLeadSomewhere(t *testing.T) {
	const root = "../.."
	links := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git"):
			return fs.SkipDir
		case filepath.Ext(path) != ".md":
			return nil
		}
		page, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, match := range link.FindAllStringSubmatch(fenced.ReplaceAllString(string(page), ""), -1) {
			links++
			if fault := follow(path, match[1]); fault != "" {
				t.Errorf("%s: the link to %s: %s", path, match[1], fault)
			}
		}
		return nil
	})
	if err != nil || links < 100 {
		t.Errorf("%d links, %v: the pages have more", links, err)
	}
}

// follow returns what is wrong with a link of a page, or "".
func follow(page, target string) (fault string) {
	if strings.Contains(target, "://") {
		return "" // nothing outside of the repository is asked
	}
	file, anchor, _ := strings.Cut(target, "#")
	path := page
	if file != "" {
		path = filepath.Join(filepath.Dir(page), file)
	}
	content, err := os.ReadFile(path)
	switch {
	case err != nil:
		if info, statErr := os.Stat(path); statErr != nil || !info.IsDir() {
			return "there is no such file"
		}
	case anchor != "" && filepath.Ext(path) == ".md" && !anchors(string(content))[anchor]:
		return "the page has no such heading"
	}
	return ""
}
