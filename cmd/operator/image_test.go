// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The Dockerfile copies all sources of the operator, and .dockerignore excludes none of them.
func TestImageIsBuiltFromAllItNeeds(t *testing.T) {
	copied := allMatches(`(?m)^COPY (\w+)/ \w+/$`, readText(t, "../../Dockerfile"))
	admitted := allMatches(`(?m)^!(\w+)/$`, readText(t, "../../.dockerignore"))
	for _, path := range sources(t) {
		folder, _, _ := strings.Cut(path, "/")
		if !slices.Contains(copied, folder) || !slices.Contains(admitted, folder) {
			t.Errorf("the operator is made of %s; the Dockerfile copies %q, .dockerignore admits %q", path, copied, admitted)
		}
		if strings.HasSuffix(path, "_test.go") || strings.Contains(path, "/testdata/") {
			t.Errorf("the operator is made of %s, which .dockerignore keeps out", path)
		}
	}
}

// Base images are named by their digest: a tag may name another image tomorrow.
func TestBaseImagesAreNamedByDigest(t *testing.T) {
	for _, image := range allMatches(`(?m)^FROM (?:--\S+ )?(\S+)`, readText(t, "../../Dockerfile")) {
		if digest := allMatches(`@sha256:([0-9a-f]{64})$`, image); len(digest) != 1 {
			t.Errorf("the Dockerfile is built from %s", image)
		}
	}
}

// The variables that builds set exist in the binary: the linker ignores other names.
func TestBuildsSetWhatIsThere(t *testing.T) {
	declared := allMatches(`(?m)^var (\w+) string$`, readText(t, "version.go"))
	for _, file := range []string{"../../Dockerfile", "../../Makefile", "../../hack/image/compile.go"} {
		if set := allMatches(`-X main\.(\w+)=`, readText(t, file)); len(set) == 0 || !slices.Equal(set, declared) {
			t.Errorf("%s sets %q, version.go declares %q", filepath.Base(file), set, declared)
		}
	}
}

// sources lists the source files of the operator in this module, by their paths in the repository.
func sources(t *testing.T) (paths []string) {
	t.Helper()
	const format = `{{if and .Module .Module.Main}}{{$dir := .Dir}}{{range .GoFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}{{range .EmbedFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}{{end}}`
	output, err := exec.Command("go", "list", "-deps", "-f", format, ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range strings.Fields(string(output)) {
		relative, err := filepath.Rel(root, path)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, filepath.ToSlash(relative))
	}
	if !slices.Contains(paths, "registry/cachewright.lua") {
		t.Fatalf("the library is not among %q: this looks in the wrong place", paths)
	}
	return paths
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
