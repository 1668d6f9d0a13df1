// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package shipped

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cachewright/cachewright/internal/kubetest"
)

const module = "github.com/cachewright/cachewright"

// unshipped are the trees of this module that only tests, the demo and the bench use.
var unshipped = []string{
	"/controllers/internal/controllertest", "/controllers/stores/storetest", "/examples", "/hack", "/internal/browsertest", "/internal/detached",
	"/internal/kubetest", "/internal/operatortest", "/internal/pages", "/internal/redistest",
	"/internal/shipped",
	"/internal/testserver",
}

// source is a package that is shipped.
type source struct {
	path  string // below the module
	files []*ast.File
	info  *types.Info
	// bodies of the functions that it declares.
	bodies map[types.Object]*ast.BlockStmt
}

// positions are those of all sources.
var positions = token.NewFileSet()

var sources = sync.OnceValues(readSources)

// shippedSources are the packages that are shipped, with their types.
func shippedSources(t *testing.T) []*source {
	t.Helper()
	all, err := sources()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 8 {
		t.Fatalf("only %d packages are shipped", len(all))
	}
	return all
}

// listed is what go list tells of a package.
type listed struct {
	ImportPath, Export, Dir string
	GoFiles                 []string
}

func readSources() ([]*source, error) {
	root, err := kubetest.ModuleRoot()
	if err != nil {
		return nil, err
	}
	list := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Export,Dir,GoFiles", "./...")
	list.Dir, list.Stderr = root, os.Stderr
	output, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("listing the packages of the module: %w", err)
	}
	exports, ours := map[string]string{}, []listed{}
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		exports[p.ImportPath] = p.Export
		if isShipped(p.ImportPath) {
			ours = append(ours, p)
		}
	}
	files := positions
	imports := importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	var all []*source
	for _, p := range ours {
		s, err := check(files, imports, p)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func isShipped(path string) bool {
	below, ours := strings.CutPrefix(path, module)
	return ours && !slices.ContainsFunc(unshipped, func(tree string) bool { return below == tree || strings.HasPrefix(below, tree+"/") })
}

func check(files *token.FileSet, imports types.Importer, p listed) (*source, error) {
	s := &source{
		path:   strings.TrimPrefix(p.ImportPath, module+"/"),
		info:   &types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}},
		bodies: map[types.Object]*ast.BlockStmt{},
	}
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, 0)
		if err != nil {
			return nil, err
		}
		s.files = append(s.files, file)
	}
	if _, err := (&types.Config{Importer: imports}).Check(p.ImportPath, files, s.files, s.info); err != nil {
		return nil, fmt.Errorf("reading %s: %w", p.ImportPath, err)
	}
	for function := range s.functions() {
		s.bodies[s.info.Defs[function.Name]] = function.Body
	}
	return s, nil
}

// functions are those that the package declares.
func (s *source) functions() func(yield func(*ast.FuncDecl) bool) {
	return func(yield func(*ast.FuncDecl) bool) {
		for _, file := range s.files {
			for _, declaration := range file.Decls {
				if function, ok := declaration.(*ast.FuncDecl); ok && function.Body != nil && !yield(function) {
					return
				}
			}
		}
	}
}

// nameOf names a function of the package, for example controllers.Monitor.run.
func (s *source) nameOf(function *ast.FuncDecl) string {
	name := function.Name.Name
	if object, ok := s.info.Defs[function.Name].(*types.Func); ok {
		name = shortName(object)
	}
	return s.path + ": " + name
}

// called is the function or method that a call names, nil where it calls a value.
func (s *source) called(call *ast.CallExpr) *types.Func {
	expression := ast.Unparen(call.Fun)
	switch generic := expression.(type) {
	case *ast.IndexExpr:
		expression = generic.X
	case *ast.IndexListExpr:
		expression = generic.X
	}
	var name *ast.Ident
	switch expression := expression.(type) {
	case *ast.Ident:
		name = expression
	case *ast.SelectorExpr:
		name = expression.Sel
	default:
		return nil
	}
	function, _ := s.info.Uses[name].(*types.Func)
	return function
}

// shortName is a function's name, after its receiver's type if it has one.
func shortName(function *types.Func) string {
	receiver := function.Signature().Recv()
	if receiver == nil {
		return function.Name()
	}
	of := receiver.Type()
	if pointer, ok := of.(*types.Pointer); ok {
		of = pointer.Elem()
	}
	if named, ok := of.(*types.Named); ok {
		return named.Obj().Name() + "." + function.Name()
	}
	return function.Name()
}

// compare holds what was found against a table of reasons.
func compare(t *testing.T, found map[string]bool, reasons map[string]string, advice string) {
	t.Helper()
	for what := range found {
		if reasons[what] == "" {
			t.Errorf("%s: %s", what, advice)
		}
	}
	for what := range reasons {
		if !found[what] {
			t.Errorf("%s: it is no more; take it out of the table", what)
		}
	}
}
