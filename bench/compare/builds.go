// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// builds holds the benchmark's binaries: the same benchmark, built with this checkout and with the
// reference.
type builds struct {
	dir string
	// root of this checkout, and of the reference.
	root, referenceRoot string
	// candidate and reference measure rows of the data plane.
	candidate, reference string
}

// newBuilds checks out the reference in a directory of its own, and builds both. The caller removes
// them.
func newBuilds(ctx context.Context, reference string) (b *builds, err error) {
	b = &builds{}
	if b.root, err = run(ctx, ".", "git", "rev-parse", "--show-toplevel"); err != nil {
		return nil, err
	}
	if b.dir, err = os.MkdirTemp("", "cachewright-compare-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			b.remove()
		}
	}()
	b.referenceRoot = filepath.Join(b.dir, "reference")
	if _, err := run(ctx, b.root, "git", "worktree", "add", "--detach", b.referenceRoot,
		reference); err != nil {
		return nil, err
	}
	if b.candidate, err = b.build(ctx, "candidate", b.root); err != nil {
		return nil, err
	}
	if b.reference, err = b.build(ctx, "reference-bench", b.referenceRoot); err != nil {
		return nil, fmt.Errorf("building the benchmark over %s, whose Go API may be too old for it: %w",
			reference, err)
	}
	return b, nil
}

// build compiles this checkout's benchmark with the packages of the module in root.
func (b *builds) build(ctx context.Context, name, root string) (string, error) {
	bench := filepath.Join(b.root, "bench")
	modfile := filepath.Join(b.dir, name+".mod")
	for from, to := range map[string]string{
		"go.mod": modfile, "go.sum": strings.TrimSuffix(modfile, ".mod") + ".sum",
	} {
		text, err := os.ReadFile(filepath.Join(bench, from))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(to, text, 0o600); err != nil {
			return "", err
		}
	}
	replace := "-replace=github.com/cachewright/cachewright=" + root
	if _, err := run(ctx, bench, "go", "mod", "edit", replace, modfile); err != nil {
		return "", err
	}
	binary := filepath.Join(b.dir, name)
	_, err := run(ctx, bench, "go", "build", "-mod=mod", "-modfile="+modfile, "-tags="+tags(root),
		"-o", binary, ".")
	return binary, err
}

// tags returns the build tags for the packages in root, which may be older than what they name.
func tags(root string) string {
	var missing []string
	for tag, file := range map[string]string{
		"noholds": filepath.Join("registry", "holds.go"),
		"nomany":  filepath.Join("cache", "many.go"),
		"nolink":  filepath.Join("internal", "redistest", "distant", "distant.go"),
	} {
		if _, err := os.Stat(filepath.Join(root, file)); err != nil {
			missing = append(missing, tag)
		}
	}
	return strings.Join(missing, ",")
}

// remove deletes the binaries and the checkout of the reference, also after an interrupt.
func (b *builds) remove() {
	ctx := context.Background()
	// fails where it was never added
	_, _ = run(ctx, b.root, "git", "worktree", "remove", "--force", b.referenceRoot)
	_ = os.RemoveAll(b.dir)
}

// run runs a command and returns its output without the final newline.
func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = dir
	output, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, output)
	}
	return strings.TrimSpace(string(output)), nil
}
