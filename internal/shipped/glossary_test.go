// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package shipped

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/internal/kubetest"
)

var (
	glossaryRow    = regexp.MustCompile(`(?m)^\| ([^|]+) \| ([^|]+) \|$`)
	glossaryBullet = regexp.MustCompile(`(?m)^// {3}- ([a-z ,]+): ((?:.|\n// {5})+)$`)
)

// glossaryOf are the terms in the text of a file between two marks, with what they mean.
func glossaryOf(t *testing.T, file, from, to string, entry *regexp.Regexp) map[string]string {
	t.Helper()
	root, err := kubetest.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), from)
	rest, _, _ = strings.Cut(rest, to)
	terms := map[string]string{}
	for _, found := range entry.FindAllStringSubmatch(rest, -1) {
		meaning := strings.NewReplacer("\n//", "", "`", "", `"`, "", "*", "").Replace(found[2])
		terms[found[1]] = strings.TrimSuffix(strings.Join(strings.Fields(meaning), " "), ".")
	}
	delete(terms, "term")
	return terms
}

func TestBothGlossariesSayTheSame(t *testing.T) {
	ofPage := glossaryOf(t, "docs/architecture.md", "## Glossary\n", "## ", glossaryRow)
	ofPackage := glossaryOf(t, "registry/doc.go", "# Glossary\n", "package registry", glossaryBullet)
	if len(ofPage) < 15 || !maps.Equal(ofPage, ofPackage) {
		t.Errorf("docs/architecture.md has %d terms, registry/doc.go %d", len(ofPage), len(ofPackage))
	}
	for term, meaning := range ofPage {
		if ofPackage[term] != meaning {
			t.Errorf("%s is %q on the page, and %q in the package", term, meaning, ofPackage[term])
		}
	}
	for term := range ofPackage {
		if ofPage[term] == "" {
			t.Errorf("%s is missing on the page", term)
		}
	}
}
