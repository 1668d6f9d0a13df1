// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package tutorials

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/internal/pages"
)

const migrationPage = "../../docs/how-to/migration.md"

// valued is a line of code that tells its value.
var valued = regexp.MustCompile(`(?m)^(.+); // → (.+)$`)

// theMigrationPage applies the policy of the page, and runs its blocks of code in one program. Each
// is a scope of its own.
func theMigrationPage(t *testing.T, env []string) {
	page, err := os.ReadFile(migrationPage)
	if err != nil {
		t.Fatal(err)
	}
	prelude, err := os.ReadFile("testdata/migration.mjs")
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(t, "migration", env)
	r.paste(`mkdir migration && cd migration && cp "$CHECKOUT"/examples/node/*.mjs .
npm install cache-manager ioredis
kubectl get namespace members || kubectl create namespace members`)
	program, values := string(prelude), 0
	for _, block := range pages.Blocks(string(page)) {
		switch block.Language {
		case "sh":
			r.paste(block.Text)
		case "js":
			values += len(valued.FindAllString(block.Text, -1))
			program += fmt.Sprintf("{\n%s}\n", valued.ReplaceAllString(block.Text, "assert.deepEqual($1, $2);"))
		default:
			r.save(block.Text)
		}
	}
	r.write("migration.mjs", program+"process.exit();\n")
	r.paste("node migration.mjs")
	if values < 15 {
		t.Errorf("the page tells %d values, so this looks for them in the wrong way", values)
	}
}

// TestTheMigrationPageNamesCallsOfGo holds the last column of its table against package cache.
func TestTheMigrationPageNamesCallsOfGo(t *testing.T) {
	page, err := os.ReadFile(migrationPage)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../cache/*.go")
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]bool{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			if function, isFunction := declaration.(*ast.FuncDecl); isFunction {
				calls[function.Name.Name] = true
			}
		}
	}
	named := 0
	for _, row := range regexp.MustCompile("(?m)\\| `([A-Z]\\w+)`[^|]*\\|$").FindAllStringSubmatch(string(page), -1) {
		named++
		if !calls[row[1]] {
			t.Errorf("package cache has no %s", row[1])
		}
	}
	if named < 9 || strings.Contains(string(page), "cache.Fetch") {
		t.Errorf("the page names %d calls of Go in its table, want them all there", named)
	}
}
