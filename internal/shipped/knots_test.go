// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package shipped

import (
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// maxKnot is the number of files of a package that may all reach each other. A reader of one has to
// know all of them.
const maxKnot = 4

// fileArrows are the uses of names across the files of a package.
func (s *source) fileArrows() arrows {
	fileOf := func(at token.Pos) string { return filepath.Base(positions.Position(at).Filename) }
	found := arrows{}
	for name, used := range s.info.Uses {
		if used.Pkg() == nil || !used.Pos().IsValid() || strings.TrimPrefix(used.Pkg().Path(), module+"/") != s.path {
			continue
		}
		if from, to := fileOf(name.Pos()), fileOf(used.Pos()); from != to {
			found.add(from, to)
		}
	}
	return found
}

// knots are the largest sets of files that all reach each other.
func (a arrows) knots() [][]string {
	reached := map[string]map[string]bool{}
	var follow func(from, at string)
	follow = func(from, at string) {
		for _, next := range a[at] {
			if !reached[from][next] {
				reached[from][next] = true
				follow(from, next)
			}
		}
	}
	for file := range a {
		reached[file] = map[string]bool{}
		follow(file, file)
	}
	var knots [][]string
	for file := range a {
		var knot []string
		for other := range reached[file] {
			if reached[other][file] {
				knot = append(knot, other)
			}
		}
		slices.Sort(knot)
		if len(knot) > 0 && knot[0] == file { // each knot once
			knots = append(knots, knot)
		}
	}
	return knots
}

func TestFewFilesReachEachOther(t *testing.T) {
	for _, s := range shippedSources(t) {
		for _, knot := range s.fileArrows().knots() {
			if len(knot) > maxKnot {
				t.Errorf("in %s, %d files reach each other: %s", s.path, len(knot), strings.Join(knot, ", "))
			}
		}
	}
}
