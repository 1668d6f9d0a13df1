// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package vectors_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/hack/conformance/internal/vectors"
)

func parsed(t *testing.T, text string) (value any) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestCompareFindsWhatDiffers(t *testing.T) {
	for _, c := range []struct {
		got, want, says string // empty: they are equal
	}{
		{`"6869"`, `"hi"`, ""},
		{`"6869"`, `"ho"`, `got "hi", want "ho"`},
		{`"hi"`, `"hi"`, `got "hi", which is not hex`},
		{`5`, `5`, ""},
		{`5`, `6`, "got 5, want 6"},
		{`"35"`, `5`, `got "5", want 5`},
		{`5`, `"5"`, `got 5, want "5"`},
		{`null`, `null`, ""},
		{`""`, `null`, `got "", want null`},
		{`null`, `""`, `got nothing, want ""`},
		{`[1, "6869"]`, `[1, "hi"]`, ""},
		{`[1, "6869"]`, `[1, "ho"]`, `element 1: got "hi", want "ho"`},
		{`[1]`, `[1, 2]`, "got [1], want [1,2]"},
		{`7`, `{"between": [5, 7]}`, ""},
		{`8`, `{"between": [5, 7]}`, "got 8, want 5 to 7"},
		{`"38"`, `{"between": [5, 70]}`, `got "8", want 5 to 70`},
		{`"3161"`, `{"save": "new"}`, ""},
		{`"30"`, `{"save": "new"}`, `got "0", want a token`},
		{`"3162"`, `{"token": "old"}`, ""},
		{`"3163"`, `{"token": "old"}`, `got "1c", want "1b", which the vector saved as old`},
		{`1`, `{"unheard-of": 1}`, "this program does not know"},
	} {
		tokens := vectors.Tokens{"old": "1b"}
		err := tokens.Compare(vectors.Step{Reply: parsed(t, c.want)}, parsed(t, c.got))
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s compared with %s: %v; want %q", c.got, c.want, err, c.says)
		}
	}
}

func TestCompareLooksAtTheFiguresOfAMap(t *testing.T) {
	step := vectors.Step{Map: map[string]json.Number{"keys": "2"}}
	for got, says := range map[string]string{
		`["6869", 1, "6b657973", 2]`: "",
		`["6b657973", 3]`:            "keys: got 3, want 2",
		`["6869", 2]`:                "keys: got nothing, want 2",
		`5`:                          "keys: got nothing, want 2",
	} {
		err := vectors.Tokens{}.Compare(step, parsed(t, got))
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; want %q", got, err, says)
		}
	}
}

func TestArgumentsUseSavedTokens(t *testing.T) {
	tokens := vectors.Tokens{"t": "1a"}
	step := vectors.Step{Args: []any{"text", map[string]any{"token": "t"}}}
	if args, err := tokens.Arguments(step); err != nil || len(args) != 2 || args[0] != "text" || args[1] != "1a" {
		t.Errorf("got %q (%v)", args, err)
	}
	step.Args = []any{map[string]any{"token": "other"}}
	if _, err := tokens.Arguments(step); err == nil {
		t.Error("a token that was not saved was used")
	}
}

func TestReadRefusesAnotherFile(t *testing.T) {
	if _, err := vectors.Read("../../../../docs/protocol-vectors.json"); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"", "[]", "{}", `{"protocol": 2, "keys": [{}], "entries": [{}], "calls": [{}]}`} {
		path := filepath.Join(t.TempDir(), "vectors.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := vectors.Read(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}
