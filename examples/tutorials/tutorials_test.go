// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package tutorials follows the tutorials of docs/tutorials as a reader does. It saves each file and
// pastes each line into a shell. What it sees must be what the page shows.
package tutorials

import (
	"go/format"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/internal/pages"
)

func TestTheTutorialsWorkLineByLine(t *testing.T) {
	env := startEverything(t)
	t.Run("README", func(t *testing.T) { theReadme(t, env) })
	t.Run("refusals", func(t *testing.T) { theRefusals(t, env) })
	t.Run("Go", func(t *testing.T) { theGoTutorial(t, env) })
	t.Run("NestJS", func(t *testing.T) {
		installNest(t)
		patient := slices.Concat(env, []string{"CACHE_TIMEOUT_MS=20000"}) // the machine may be busy
		newReader(t, "users", patient).follow("../../docs/tutorials/nestjs.md")
	})
	t.Run("migration", func(t *testing.T) {
		installNest(t)
		theMigrationPage(t, env)
	})
}

func theGoTutorial(t *testing.T, env []string) {
	r := newReader(t, "posts", env)
	r.follow("../../docs/tutorials/go.md")
	source := r.file("main.go")
	if formatted, err := format.Source([]byte(source)); err != nil || string(formatted) != source {
		t.Errorf("gofmt would change the program of the tutorial (%v):\n%s", err, source)
	}
}

// twoScreens is what somebody reads before deciding to stay.
const twoScreens = 120

// theReadme follows what the README says after the installation. config/commands_test.go follows the
// rest.
func theReadme(t *testing.T, env []string) {
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(page), "\n"); lines > twoScreens {
		t.Errorf("the README has %d lines, more than two screens of 60", lines)
	}
	_, text, _ := strings.Cut(string(page), "\n## A first policy")
	r := newReader(t, ".", env)
	if pasted, _ := r.obey(text); pasted < 2 {
		t.Errorf("pasted %d blocks, the README has more", pasted)
	}
	// A program without Redis would print Ada, too, and then what is wrong.
	if r.output != "Ada <nil>\n<nil>\n" {
		t.Errorf("the program of the README prints %q", r.output)
	}
	source := r.file("main.go")
	if formatted, err := format.Source([]byte(source)); err != nil || string(formatted) != source {
		t.Errorf("gofmt would change the program of the README (%v)", err)
	}
}

var (
	// edit is the first line of a block that changes a file: where, and how.
	edit = regexp.MustCompile(`^// ([\w./]+): (after|before|instead of) (.+)$`)
	// saved is the first line of a block that is a whole file.
	saved = regexp.MustCompile(`^(?://|#) ([\w./-]+)$`)
)

// follow does what the page says, from top to bottom.
func (r *reader) follow(page string) {
	r.t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		r.t.Fatal(err)
	}
	pasted, compared := r.obey(string(text))
	if pasted < 5 || compared < 5 {
		r.t.Errorf("%s: pasted %d blocks and compared %d, the page has more", page, pasted, compared)
	}
}

// obey does what a text says. It returns how many blocks it pasted, and how many it compared.
func (r *reader) obey(text string) (pasted, compared int) {
	r.t.Helper()
	for _, block := range pages.Blocks(text) {
		switch block.Language {
		case "sh":
			r.paste(block.Text)
			pasted++
		case "text":
			r.sees(block.Text)
			compared++
		default:
			r.save(block.Text)
		}
	}
	return pasted, compared
}

// save writes the file that a block is, or changes the file that it names.
func (r *reader) save(content string) {
	r.t.Helper()
	first, rest, _ := strings.Cut(content, "\n")
	if match := saved.FindStringSubmatch(first); match != nil {
		if strings.HasPrefix(first, "#") {
			rest = content
		}
		r.write(match[1], rest)
		return
	}
	match := edit.FindStringSubmatch(first)
	if match == nil {
		r.t.Fatalf("a block does not say which file it is: %q", first)
	}
	name, place, anchor := match[1], match[2], match[3]
	before := r.file(name)
	if strings.Count(before, anchor) != 1 {
		r.t.Fatalf("%s has %q %d times", name, anchor, strings.Count(before, anchor))
	}
	change := strings.Trim(rest, "\t\n ")
	if place == "before" {
		above, _, _ := strings.Cut(before, anchor)
		indent := above[strings.LastIndex(above, "\n")+1:]
		change = strings.TrimLeft(rest, "\t ") + indent + anchor
	}
	r.write(name, strings.Replace(before, anchor, change, 1))
}

func (r *reader) write(name, content string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *reader) file(name string) string {
	r.t.Helper()
	content, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(content)
}

// sees compares the output of the last block with what the page shows. … stands for what differs
// each time.
func (r *reader) sees(shown string) {
	r.t.Helper()
	pattern := strings.ReplaceAll(regexp.QuoteMeta(shown), "…", "[^\n]*")
	if !regexp.MustCompile("^" + pattern + "$").MatchString(r.output) {
		r.t.Errorf("the page shows\n%s\nand a reader sees\n%s", shown, r.output)
	}
}
