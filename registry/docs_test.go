// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var shellWord = regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`)

func words(line string) []any {
	var args []any
	for _, word := range shellWord.FindAllString(line, -1) {
		args = append(args, strings.Trim(word, `'"`))
	}
	return args
}

var redisCLI = regexp.MustCompile("(?m)^redis-cli (.+)$|`redis-cli ([^`]+)`")

// documentedCommands returns, for each page, what it tells its readers to run with redis-cli.
func documentedCommands(t *testing.T) map[string][]string {
	t.Helper()
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := map[string][]string{}
	for _, path := range append(pages, "../README.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range redisCLI.FindAllStringSubmatch(string(text), -1) {
			commands[filepath.Base(path)] = append(commands[filepath.Base(path)], found[1]+found[2])
		}
	}
	for _, page := range []string{"operations.md", "cachepolicy.md", "protocol.md", "clients.md"} {
		if len(commands[page]) == 0 {
			t.Fatalf("found no redis-cli in %s, which gives some", page)
		}
	}
	return commands
}

// argumentsOf returns what redis-cli, started in the root of the repository, sends for a command.
func argumentsOf(t *testing.T, command string) []any {
	t.Helper()
	rest, fromFile := strings.CutPrefix(command, "-x ")
	if !fromFile {
		return words(command)
	}
	before, path, _ := strings.Cut(rest, " < ")
	content, err := os.ReadFile("../" + path)
	if err != nil {
		t.Fatal(err)
	}
	return append(words(before), string(content))
}

// The commands that the pages give to do by hand work.
func TestDocumentedCommandsWork(t *testing.T) {
	r, client := newRegistry(t)
	if _, err := r.ApplyPolicyFor(t.Context(), Claim{Slot: users, Owner: "cluster/shop/users"}, caching()); err != nil {
		t.Fatal(err)
	}
	fillAll(t, r, entry("list", "a", ""))
	for page, commands := range documentedCommands(t) {
		for _, command := range commands {
			if err := client.Do(t.Context(), argumentsOf(t, command)...).Err(); err != nil {
				t.Errorf("%s: redis-cli %s: %v", page, command, err)
			}
		}
	}
	if isHit(t, r, entry("list", "a", "")) {
		t.Error("the purge by hand did not purge")
	}
}
