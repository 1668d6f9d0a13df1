// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// compared lists the rows and what they are compared with. A call may take so many times as long.
var compared = map[string]struct {
	to     string
	atMost float64
}{
	"repository-get":        {"gorm-get", 1.10},
	"repository-cached-get": {"fetch-get", 1.05},
	"repository-intx":       {"repository-plain-intx", 1.45},
}

func TestEverySubjectIsMeasured(t *testing.T) {
	out := filepath.Join(t.TempDir(), "results.json")
	if err := run(t.Context(), scale{quick: true, rounds: 1, calls: 5}, out); err != nil {
		t.Fatal(err)
	}
	rows := readRows(t, out)
	for name, goal := range compared {
		if rows[name].To != goal.to || rows[name].TimeTo <= 0 || rows[name].P50Micros <= 0 {
			t.Errorf("%s: %+v", name, rows[name])
		}
	}
	for _, name := range []string{"database-sql-get", "repository-hold", "repository-release", "repository-near-get"} {
		if rows[name].P50Micros <= 0 {
			t.Errorf("%s: %+v", name, rows[name])
		}
	}
}

func readRows(t *testing.T, path string) map[string]row {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Results []row }
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	rows := map[string]row{}
	for _, r := range file.Results {
		rows[r.Name] = r
	}
	return rows
}
