// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package heads

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"testing"
)

// hexText is bytes that the vectors have in hex.
type hexText string

func (h *hexText) UnmarshalText(text []byte) error {
	decoded, err := hex.DecodeString(string(text))
	*h = hexText(decoded)
	return err
}

// Near caches in other languages read the log of deletions by these vectors.
func TestConformanceDeletions(t *testing.T) {
	text, err := os.ReadFile("../../../docs/protocol-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Digests []struct {
			Operation, User, ID hexText
			Digest              string
		}
		Deletions []struct {
			Name             string
			Before, Now, Log hexText
			Gone             *[]string
		}
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors.Digests) == 0 || len(vectors.Deletions) == 0 {
		t.Fatal("there are none")
	}
	for _, v := range vectors.Digests {
		digest := digestOf(string(v.Operation), string(v.User), string(v.ID))
		if got := hex.EncodeToString(digest[:]); got != v.Digest {
			t.Errorf("%+v: got %s", v, got)
		}
	}
	for _, v := range vectors.Deletions {
		before, now := string(v.Before), string(v.Now)
		gone, told := []digest(nil), before == now
		if !told && differOnlyByFence(before, now) {
			gone, told = deletedSince(string(v.Log), before)
		}
		var names []string
		for _, digest := range gone {
			names = append(names, hex.EncodeToString(digest[:]))
		}
		if told != (v.Gone != nil) || told && !slices.Equal(names, *v.Gone) {
			t.Errorf("%s: got %v, %t", v.Name, names, told)
		}
	}
}
