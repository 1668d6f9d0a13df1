// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

// linesOf returns the lines of a page that begin so.
func linesOf(t *testing.T, page, prefix string) []string {
	t.Helper()
	file, err := os.Open("../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var lines []string
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		if strings.HasPrefix(scanner.Text(), prefix) {
			lines = append(lines, scanner.Text())
		}
	}
	if len(lines) == 0 {
		t.Fatalf("%s has no line that begins with %q", page, prefix)
	}
	return lines
}

func words(line string) []any {
	var args []any
	for _, word := range strings.Fields(line) {
		args = append(args, strings.Trim(word, "'"))
	}
	return args
}

// The commands that docs/operations.md gives to do by hand work.
func TestDocumentedCommandsWork(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	fillAll(t, r, entry("list", "a", ""))
	for _, line := range linesOf(t, "operations.md", "redis-cli ") {
		if err := client.Do(t.Context(), words(strings.TrimPrefix(line, "redis-cli "))...).Err(); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	if isHit(t, r, entry("list", "a", "")) {
		t.Error("the purge by hand did not purge")
	}
}
