// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

// The page of versions names those that the tests run against.
func TestTheVersionsPageNamesWhatIsTried(t *testing.T) {
	versions := page(t, "../docs/versions.md")
	first := func(path, pattern string) string {
		t.Helper()
		found := regexp.MustCompile(pattern).FindStringSubmatch(page(t, path))
		if found == nil {
			t.Fatalf("%s has nothing like %s", path, pattern)
		}
		return found[1]
	}
	var node struct {
		Engines, Dependencies map[string]string
	}
	if err := json.Unmarshal([]byte(page(t, "../examples/node/package.json")), &node); err != nil {
		t.Fatal(err)
	}
	major := func(version string) string {
		number, _, _ := strings.Cut(strings.TrimLeft(version, "^>="), ".")
		return number
	}
	for _, want := range []string{
		"the API server " + first("../hack/control-plane.sh", `readonly VERSION=(\d+\.\d+)\.`) + ",",
		"| Go | " + first("../go.mod", `(?m)^go (\d+\.\d+)`) + " |",
		"also on " + first("../hack/servers.sh", `Redis (\d+\.\d+), Valkey`) + ":",
		"the protocol on " + first("../hack/servers.sh", `Redis \S+ Valkey (\d+\.\d+)`) + ",",
		"ioredis " + major(node.Dependencies["ioredis"]) + " and redis " + major(node.Dependencies["redis"]),
		"the Node of the machine, " + major(node.Engines["node"]) + " or later",
	} {
		if !strings.Contains(versions, want) {
			t.Errorf("docs/versions.md does not say %q", want)
		}
	}
}
