// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package node_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The conformance runner tries the client over each client of Redis that it knows, as far as that
// goes: ioredis speaks RESP2.
func TestNodeConforms(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a redis-server, which -short leaves out")
	}
	prepareNode(t)
	runner := filepath.Join(t.TempDir(), "conformance")
	if output, err := exec.Command("go", "build", "-o", runner, "../../hack/conformance").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	for _, library := range []struct{ name, resp string }{{"ioredis", "2"}, {"node-redis", "2"}, {"node-redis", "3"}} {
		for _, kind := range []string{"single", "cluster"} {
			t.Run(library.name+", RESP"+library.resp+", "+kind, func(t *testing.T) {
				t.Parallel()
				try := exec.CommandContext(t.Context(), runner, "-redis", kind, "-resp", library.resp, "-run", "^([^pt]|tokens)",
					"-vectors", "../../docs/protocol-vectors.json", "node", "conform.mjs", library.name)
				output, err := try.CombinedOutput()
				if err != nil {
					t.Errorf("%v\n%s", err, output)
				}
				for line := range strings.Lines(string(output)) {
					part, _, _ := strings.Cut(line, " ")
					if strings.Contains(line, " left out (") && part != "tokens" && part != "near" {
						t.Errorf("cases of %s were left out:\n%s", part, output)
					}
				}
			})
		}
	}
}
