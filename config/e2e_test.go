// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/internal/pages"
)

// What runs in kind are the lines of the README for the cluster, with its policy and its purge. Then
// follow those of docs/install.md, in their order.
func TestTheEndToEndRunFollowsThePages(t *testing.T) {
	output, err := exec.CommandContext(t.Context(), "../hack/e2e.sh", "--print").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	rest := string(output)
	for _, command := range commandsOf(t, "README.md") {
		if notRun[command] != "" {
			continue
		}
		shown := strings.Join(strings.Fields(strings.ReplaceAll(rest, "\\\n", "")), " ")
		if !strings.Contains(shown, strings.Join(strings.Fields(command), " ")) {
			t.Errorf("it does not run the line of the README: %s", command)
		}
	}
	install := page(t, "../docs/install.md")
	lines := 0
	for _, block := range pages.Blocks(install) {
		for line := range strings.Lines(block.Text) {
			line = strings.ReplaceAll(line, "https://github.com/cachewright/cachewright/releases/download/"+releasedTag(t)+"/", "dist/")
			_, after, found := strings.Cut(rest, "\n+ "+line)
			if !found {
				t.Fatalf("it does not run, or not in this place: %s", line)
			}
			rest = "\n" + after
			lines++
		}
	}
	if lines < 10 {
		t.Errorf("the page has only %d lines: this looks in the wrong place", lines)
	}
	for _, manifest := range manifests(t, "../README.md") {
		if !strings.Contains(string(output), manifest) {
			t.Errorf("it does not create\n%s", manifest)
		}
	}
}

// Each file that names the version names the one that hack/version.sh sets.
func TestOneVersionIsNamed(t *testing.T) {
	version, err := exec.CommandContext(t.Context(), "../hack/version.sh").Output()
	if err != nil {
		t.Fatal(err)
	}
	tag := strings.TrimSpace(string(version))
	if tag != releasedTag(t) {
		t.Errorf("it says %s, config/image %s", tag, releasedTag(t))
	}
	for _, path := range []string{"gitops/operator/flux.yaml", "gitops/operator/argocd.yaml", "../docs/gitops.md", "../docs/install.md", "../charts/cachewright/Chart.yaml"} {
		if !strings.Contains(page(t, path), tag) {
			t.Errorf("%s does not name %s", path, tag)
		}
		if !strings.Contains(page(t, "../hack/version.sh"), strings.TrimPrefix(path, "../")) && !strings.HasPrefix(path, "gitops/") {
			t.Errorf("hack/version.sh does not set %s", path)
		}
	}
}

// Actions are named by commit: a tag may name other code tomorrow.
func TestActionsAreNamedByCommit(t *testing.T) {
	workflows, err := filepath.Glob("../.github/workflows/*.yml")
	if err != nil || len(workflows) == 0 {
		t.Fatalf("no workflows: %v", err)
	}
	uses, byCommit := regexp.MustCompile(`uses: (\S+)`), regexp.MustCompile(`@[0-9a-f]{40}$`)
	for _, path := range workflows {
		for _, found := range uses.FindAllStringSubmatch(page(t, path), -1) {
			if !byCommit.MatchString(found[1]) {
				t.Errorf("%s uses %s", path, found[1])
			}
		}
	}
}
