// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package shipped

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/internal/kubetest"
)

// sequential is the line of hack/test.sh with the packages that need no race detector.
var sequential = regexp.MustCompile(`(?m)^readonly SEQUENTIAL='(.*)'$`)

// What hack/test.sh tests without the race detector, because it runs in one goroutine, starts no
// goroutine and takes no lock.
func TestPackagesWithoutTheRaceDetectorAreSequential(t *testing.T) {
	root, err := kubetest.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(filepath.Join(root, "hack", "test.sh"))
	if err != nil {
		t.Fatal(err)
	}
	line := sequential.FindSubmatch(script)
	if line == nil {
		t.Fatal("hack/test.sh does not say which packages are sequential")
	}
	listed, checked := regexp.MustCompile(string(line[1])), 0
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && (entry.Name() == "node_modules" || strings.HasPrefix(entry.Name(), ".")):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go") || !listed.MatchString(filepath.Dir(path)):
			return nil
		}
		checked++
		return checkSequential(t, path)
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked < strings.Count(string(line[1]), "|") {
		t.Errorf("checked %d files: the list names packages that are not there", checked)
	}
}

// checkSequential fails the test if goroutines can meet in a file.
func checkSequential(t *testing.T, path string) error {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	concurrent := []string{"sync", "sync/atomic", "testing/synctest"}
	ast.Inspect(file, func(node ast.Node) bool {
		found := ""
		switch n := node.(type) {
		case *ast.GoStmt:
			found = "starts a goroutine"
		case *ast.ChanType:
			found = "has a channel"
		case *ast.ImportSpec:
			if name := strings.Trim(n.Path.Value, `"`); slices.Contains(concurrent, name) {
				found = "imports " + name
			}
		case *ast.SelectorExpr:
			if n.Sel.Name == "Parallel" {
				found = "runs in parallel"
			}
		}
		if found != "" {
			t.Errorf("%s %s: take its package off the list in hack/test.sh", files.Position(node.Pos()), found)
		}
		return true
	})
	return nil
}
