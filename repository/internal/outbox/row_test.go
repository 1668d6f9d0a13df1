// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/cache"
)

// What is read names the same entries as what was written.
func TestARowKeepsWhatIsCovered(t *testing.T) {
	t.Parallel()
	type params struct {
		B int    `json:"b"`
		A string `json:"a"`
	}
	for _, key := range []cache.Key{
		{Module: "users", Operation: "getById", Params: 7},
		{Module: "users", Operation: "getById", Params: int64(9007199254740993)},
		{Module: "users", Operation: "getById", Params: "<a>\"\\\u2028\x00", User: "\xff\x00"},
		{Module: "users", Operation: "getById", Params: params{B: 1, A: "x"}},
		{Module: "users", Operation: "getById", Params: []byte{0, 255}},
		{Module: "users", Operation: "getById", Params: json.RawMessage(` {"z": 1.50, "a": null} `)},
		{Module: "users", Operation: "getById"},
	} {
		text, err := encode([]cache.Covered{key})
		if err != nil {
			t.Fatal(err)
		}
		on, err := decode(text)
		if err != nil || len(on) != 1 {
			t.Fatalf("%s: %v, %v", text, on, err)
		}
		got, isKey := on[0].(cache.Key)
		wantID, _ := cache.ID(key.Params)
		gotID, err := cache.ID(got.Params)
		if !isKey || err != nil || gotID != wantID || got.Module != key.Module || got.Operation != key.Operation || got.User != key.User {
			t.Errorf("%s: it is %v: %v", text, on[0], err)
		}
	}
	for _, scope := range []cache.Scope{
		{Module: "users"},
		{Module: "users", Operation: "list"},
		{Module: "users", Operation: "list", User: "u"},
		{Module: "users", User: "u"},
		{User: "u"},
	} {
		text, err := encode([]cache.Covered{scope})
		if err != nil {
			t.Fatal(err)
		}
		if on, err := decode(text); err != nil || len(on) != 1 || on[0] != scope {
			t.Errorf("%s: it is %v: %v", text, on, err)
		}
	}
}

func TestWhatIsTooMuchForARowBecomesModules(t *testing.T) {
	t.Parallel()
	var on []cache.Covered
	for i := range 200 {
		on = append(on, cache.Key{Module: "users", Operation: "o" + strconv.Itoa(i), Params: strings.Repeat("x", 1000)})
	}
	on = append(on, cache.Scope{User: "u"}, cache.Scope{Module: "lists", Operation: "all"})
	text, err := encode(on)
	if err != nil || len(text) > 200 {
		t.Fatalf("%d bytes: %v", len(text), err)
	}
	got, err := decode(text)
	if err != nil || len(got) != 3 {
		t.Errorf("%v: %v", got, err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, text := range []string{
		`[]`, ``, `null`, `[{"module":"a","operation":"b","entry":true,"params":[1]}]`, `[{"user":"dQ=="}]`,
		`[{"module":"a","operation":"b","entry":true,"params":1e999999999}]`, `[{"module":"a/b"}]`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		on, err := decode(text)
		if err != nil {
			if strings.Contains(err.Error(), "module\"") {
				t.Errorf("the error shows the row: %v", err)
			}
			return
		}
		again, err := encode(on)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if _, err := decode(again); err != nil {
			t.Errorf("what was written cannot be read: %v", err)
		}
	})
}

func TestNamesInTriggersAreChecked(t *testing.T) {
	t.Parallel()
	good := Watched{Table: "users", Module: "users"}
	for _, dialect := range []*SQL{Postgres(), MySQL(), SQLite()} {
		if made, err := dialect.Trigger(good); err != nil || len(made) == 0 {
			t.Errorf("%v: %v", made, err)
		}
		for _, bad := range []Watched{
			{},
			{Table: `a"b`, Module: "users"},
			{Table: "users", Module: "us'ers"},
			{Table: "users", Module: "users", Operations: []string{"a'"}},
			{Table: "users", Module: "users", Entries: []Entry{{Operation: "getById", Column: "id`"}}},
			{Table: "users", Module: "users", Entries: []Entry{{Operation: "$cachewright$", Column: "id"}}},
			{Table: strings.Repeat("a", 41), Module: "users"},
		} {
			if made, err := dialect.Trigger(bad); err == nil {
				t.Errorf("%+v became %v", bad, made)
			}
		}
	}
}
