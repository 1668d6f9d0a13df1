// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package params_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/cachewright/cachewright/cache/internal/params"
)

// Clients in other languages make their ids by these vectors.
func TestConformanceIDs(t *testing.T) {
	text, err := os.ReadFile("../../../docs/protocol-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		IDs []struct{ Name, JSON, ID string }
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors.IDs) == 0 {
		t.Fatal("there are none")
	}
	for _, v := range vectors.IDs {
		id, err := params.ID(json.RawMessage(v.JSON))
		if id != v.ID || (err == nil) != (v.ID != "") {
			t.Errorf("%s: %s has the id %q (%v), want %q", v.Name, v.JSON, id, err, v.ID)
		}
	}
}
