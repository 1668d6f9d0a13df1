// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package tutorials

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// slowMachines writes an overlay for go build, by which clients of the package cache wait for Redis
// as long as a busy machine needs. With the 100 ms of a program in production, a read now and then
// goes to the source, and the page then counts one more.
func slowMachines(t *testing.T, root, dir string) (overlay string) {
	t.Helper()
	const (
		setting = "defaultTimeout             = 100 * time.Millisecond"
		patient = "defaultTimeout = 20 * time.Second"
	)
	original := filepath.Join(root, "cache", "settings.go")
	source, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(source), setting) != 1 {
		t.Fatalf("%s does not set %q", original, setting)
	}
	replacement := filepath.Join(dir, "settings.go")
	replaced, err := json.Marshal(map[string]map[string]string{"Replace": {original: replacement}})
	if err != nil {
		t.Fatal(err)
	}
	overlay = filepath.Join(dir, "overlay.json")
	for path, content := range map[string]string{
		replacement: strings.Replace(string(source), setting, patient, 1),
		overlay:     string(replaced),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return overlay
}
