// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package tutorials

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/internal/pages"
)

const refusalsPage = "../../docs/how-to/refusals.md"

// theRefusals gives the API server each manifest of the page. It must refuse it with the words that
// the page shows.
func theRefusals(t *testing.T, env []string) {
	page, err := os.ReadFile(refusalsPage)
	if err != nil {
		t.Fatal(err)
	}
	path := strings.TrimPrefix(env[slices.IndexFunc(env, func(v string) bool { return strings.HasPrefix(v, "PATH=") })], "PATH=")
	program := filepath.Join(filepath.SplitList(path)[0], "kubectl")
	given := 0
	blocks := pages.Blocks(string(page))
	for i := 0; i+1 < len(blocks); i += 2 {
		manifest, shown := blocks[i], blocks[i+1]
		if manifest.Language != "yaml" || shown.Language != "text" {
			t.Fatalf("the page must have a manifest and what the API server says of it, by turns: %q", manifest.Text)
		}
		kubectl := exec.CommandContext(t.Context(), program, "create", "--dry-run=server", "-f", "-")
		kubectl.Env, kubectl.Stdin = append(os.Environ(), env...), strings.NewReader(manifest.Text)
		output, err := kubectl.CombinedOutput()
		if err == nil {
			t.Errorf("accepted:\n%s", manifest.Text)
		}
		for line := range strings.Lines(shown.Text) {
			if !strings.Contains(string(output), strings.TrimSpace(line)) {
				t.Errorf("%s\nwas refused with\n%s\nwhich does not say %q", manifest.Text, output, line)
			}
		}
		given++
	}
	if given < 5 {
		t.Errorf("the page has more than %d manifests", given)
	}
}
