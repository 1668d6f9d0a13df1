// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package node_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The conformance runner tries the client over each client of Redis that it knows, as far as that
// goes: ioredis speaks RESP2. NODE_CLIENTS=all tries each on both kinds of Redis.
func TestNodeConforms(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a redis-server, which -short leaves out")
	}
	t.Parallel()
	prepareNode(t)
	runner := filepath.Join(t.TempDir(), "conformance")
	if output, err := exec.Command("go", "build", "-o", runner, "../../hack/conformance").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	type result struct {
		name   string
		output []byte
		err    error
	}
	results, runs := make(chan result), 0
	for _, library := range []struct{ name, resp string }{{"ioredis", "2"}, {"node-redis", "2"}, {"node-redis", "3"}} {
		for _, kind := range []string{"single", "cluster"} {
			isSample := library.resp == "2" && kind == "single" || library.resp == "3" && kind == "cluster"
			if os.Getenv("NODE_CLIENTS") != "all" && !isSample {
				continue
			}
			runs++
			go func() { // all at once: they wait most of the time
				output, err := exec.CommandContext(t.Context(), runner, "-redis", kind, "-resp", library.resp,
					"-vectors", "../../docs/protocol-vectors.json", "-acl", "../../docs/operations.md",
					"node", "conform.mjs", library.name).CombinedOutput()
				results <- result{name: library.name + ", RESP" + library.resp + ", " + kind, output: output, err: err}
			}()
		}
	}
	for range runs {
		r := <-results
		if r.err != nil {
			t.Errorf("%s: %v\n%s", r.name, r.err, r.output)
		}
		for line := range strings.Lines(string(r.output)) {
			part, _, _ := strings.Cut(line, " ")
			if strings.Contains(line, " left out (") && part != "near" {
				t.Errorf("%s: cases of %s were left out:\n%s", r.name, part, r.output)
			}
		}
	}
}
