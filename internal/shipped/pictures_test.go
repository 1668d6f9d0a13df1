// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package shipped

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/internal/kubetest"
)

// arrows are imports: from a package to those that it imports, by the last elements of their paths.
type arrows map[string][]string

func (a arrows) add(from, to string) {
	if !slices.Contains(a[from], to) {
		a[from] = append(a[from], to)
	}
}

// reaches reports whether a package imports another by way of others.
func (a arrows) reaches(from, to string) bool {
	for _, next := range a[from] {
		if next == to || a.reaches(next, to) {
			return true
		}
	}
	return false
}

// reduced leaves out the arrows that follow from others.
func (a arrows) reduced() []string {
	var left []string
	for from, all := range a {
		for _, to := range all {
			if !slices.ContainsFunc(all, func(next string) bool { return a.reaches(next, to) }) {
				left = append(left, from+" --> "+to)
			}
		}
	}
	return slices.Sorted(slices.Values(left))
}

// importsBelow are the imports among the shipped packages of a tree.
func importsBelow(t *testing.T, root, tree string) arrows {
	t.Helper()
	list := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./"+tree+"/...")
	list.Dir, list.Stderr = root, os.Stderr
	output, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	inTree := func(pkg string) bool {
		return isShipped(pkg) && (pkg == module+"/"+tree || strings.HasPrefix(pkg, module+"/"+tree+"/"))
	}
	found := arrows{}
	for line := range strings.Lines(string(output)) {
		names := strings.Fields(line)
		for _, imported := range names[1:] {
			if inTree(names[0]) && inTree(imported) {
				found.add(path.Base(names[0]), path.Base(imported))
			}
		}
	}
	return found
}

var (
	picture = regexp.MustCompile("(?s)```mermaid\nflowchart TD\n(.*?)```")
	label   = regexp.MustCompile(`\[[^\]]*\]`)
)

// drawn are the arrows of a picture.
func drawn(picture string) arrows {
	found := arrows{}
	for line := range strings.Lines(label.ReplaceAllString(picture, "")) {
		ends := strings.Split(strings.TrimSpace(line), " --> ")
		for i := range len(ends) - 1 {
			for from := range strings.SplitSeq(ends[i], " & ") {
				for to := range strings.SplitSeq(ends[i+1], " & ") {
					found.add(from, to)
				}
			}
		}
	}
	return found
}

func TestThePicturesOfPackagesShowTheirImports(t *testing.T) {
	root, err := kubetest.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	pictures := map[string]arrows{}
	for _, found := range picture.FindAllStringSubmatch(string(page), -1) {
		of := drawn(found[1])
		for _, tree := range []string{"registry", "cache", "controllers"} {
			if of[tree] != nil && pictures[tree] == nil { // the picture of what was before comes last
				pictures[tree] = of
			}
		}
	}
	for _, tree := range []string{"registry", "cache", "controllers"} {
		shown := []string{}
		for from, all := range pictures[tree] {
			for _, to := range all {
				shown = append(shown, from+" --> "+to)
			}
		}
		slices.Sort(shown)
		imports := importsBelow(t, root, tree).reduced()
		for _, arrow := range imports {
			if !slices.Contains(shown, arrow) {
				t.Errorf("the picture of %s lacks %s", tree, arrow)
			}
		}
		for _, arrow := range shown {
			if !slices.Contains(imports, arrow) {
				t.Errorf("the picture of %s has %s, which is no import, or follows from others", tree, arrow)
			}
		}
	}
}
