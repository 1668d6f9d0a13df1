// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package results_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/bench/internal/results"
)

type row struct {
	Name string  `json:"name"`
	Part string  `json:"part,omitempty"`
	Ops  float64 `json:"ops"`
}

func write(t *testing.T, path, part string, members map[string]any, rows ...row) {
	t.Helper()
	p := results.Part{Name: part, Members: members}
	for _, r := range rows {
		p.Rows = append(p.Rows, r)
	}
	if err := p.Merge(path); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) (members map[string]any, rows []row) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var document struct{ Results []row }
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &members); err != nil {
		t.Fatal(err)
	}
	return members, document.Results
}

func TestAPartReplacesItsOwnRowsAndKeepsTheOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	write(t, path, "", map[string]any{"method": "old", "quick": true}, row{Name: "hit", Ops: 1}, row{Name: "gone", Ops: 1})
	write(t, path, "operator", map[string]any{"operator": "how"}, row{Name: "latency", Ops: 2})
	write(t, path, "", map[string]any{"method": "new", "quick": nil}, row{Name: "hit", Ops: 3})

	members, rows := read(t, path)
	want := []row{{Name: "latency", Part: "operator", Ops: 2}, {Name: "hit", Ops: 3}}
	if !slices.Equal(rows, want) {
		t.Errorf("rows are %v, want %v", rows, want)
	}
	if members["method"] != "new" || members["operator"] != "how" || members["quick"] != nil {
		t.Errorf("members are %v", members)
	}
}

func TestAFileThatIsNoneOfOursIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	if err := os.WriteFile(path, []byte("a letter"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := results.Part{Rows: []any{row{Name: "hit"}}}.Merge(path)
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v does not name the file", err)
	}
	if text, _ := os.ReadFile(path); string(text) != "a letter" {
		t.Errorf("the file is now %q", text)
	}
}
