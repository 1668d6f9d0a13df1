// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/wire"
)

// vectors is docs/protocol-vectors.json.
type vectors struct {
	Keys []struct {
		Name, Namespace, Module string
		Operation, User, ID     hexBytes
		MGet                    []hexBytes
	}
	Entries []struct {
		Name         string
		Value        *hexBytes
		Heads        []*hexBytes
		Schema       string
		Live         bool
		SoftStale    bool
		Negative     bool
		Payload      hexBytes
		FreshUntilMs int64
	}
	Heads []struct {
		Name  string
		Value *hexBytes
		Heads []*hexBytes
		Token string
	}
	Calls []struct {
		Name  string
		Steps []struct {
			Call  string
			Key   string // of a call that is not on the slot
			Args  []any
			Reply any
			Map   map[string]int64
		}
	}
	Refusals []struct {
		Call string
		Keys *[]string
		Args []string
	}
}

type hexBytes string

func (h *hexBytes) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	*h = hexBytes(raw)
	return err
}

func (h *hexBytes) orEmpty() string {
	if h == nil {
		return ""
	}
	return string(*h)
}

func loadVectors(t testing.TB) vectors {
	t.Helper()
	text, err := os.ReadFile("../docs/protocol-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

var vectorSlot = Slot{Namespace: "vectors", Module: "m"}

func TestConformanceKeys(t *testing.T) {
	for _, v := range loadVectors(t).Keys {
		t.Run(v.Name, func(t *testing.T) {
			key := Key{
				Slot:      Slot{Namespace: v.Namespace, Module: v.Module},
				Operation: string(v.Operation), ID: string(v.ID), User: string(v.User),
			}
			var want []string
			for _, k := range v.MGet {
				want = append(want, string(k))
			}
			if got := key.appendReadKeys(nil); !reflect.DeepEqual(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestConformanceEntries(t *testing.T) {
	for _, v := range loadVectors(t).Entries {
		t.Run(v.Name, func(t *testing.T) {
			var heads []string
			for _, head := range v.Heads {
				heads = append(heads, head.orEmpty())
			}
			got, live := wire.DecodeLive(v.Value.orEmpty(), heads...)
			if got.Schema != v.Schema {
				got, live = wire.Live{}, false
			}
			if live != v.Live || got.Payload != string(v.Payload) {
				t.Fatalf("got (%v, %q), want (%v, %q)", live, got.Payload, v.Live, v.Payload)
			}
			if got.SoftStale != v.SoftStale || got.Negative != v.Negative {
				t.Errorf("softly stale %v, negative %v; want %v, %v", got.SoftStale, got.Negative, v.SoftStale, v.Negative)
			}
			if live && !got.FreshUntil.Equal(time.UnixMilli(v.FreshUntilMs)) {
				t.Errorf("fresh until %v, want %v ms", got.FreshUntil, v.FreshUntilMs)
			}
		})
	}
}

// The token of a read is that of the protocol, and there is none where it demands a lease.
func TestConformanceHeads(t *testing.T) {
	r, client := newRegistry(t)
	for _, v := range loadVectors(t).Heads {
		t.Run(v.Name, func(t *testing.T) {
			client.FlushDB(t.Context())
			key := Key{Slot: vectorSlot, Operation: "list", ID: "a", User: map[bool]string{true: "u"}[len(v.Heads) > 2]}
			for i, name := range key.appendReadKeys(nil) {
				if value := append([]*hexBytes{v.Value}, v.Heads...)[i]; value != nil {
					client.Set(t.Context(), name, string(*value), time.Minute)
				}
			}
			lookup, err := r.Read(t.Context(), key)
			if err != nil || lookup.Hit || lookup.Token.Sent() != v.Token || lookup.Token.Unleased() != (v.Token != "") {
				t.Errorf("%+v (%v), want the token %q", lookup, err, v.Token)
			}
		})
	}
}

func TestConformanceCalls(t *testing.T) {
	_, client := newRegistry(t)
	for _, v := range loadVectors(t).Calls {
		t.Run(v.Name, func(t *testing.T) {
			if err := client.FlushDB(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			tokens := map[string]string{}
			for i, step := range v.Steps {
				args := make([]any, len(step.Args))
				for j, arg := range step.Args {
					args[j] = substitute(arg, tokens)
				}
				key := cmp.Or(step.Key, keyOf(vectorSlot))
				reply, err := client.FCall(t.Context(), step.Call, []string{key}, args...).Result()
				if err != nil && !errors.Is(err, redis.Nil) {
					t.Fatalf("step %d, %s: %v", i, step.Call, err)
				}
				if step.Map != nil {
					wantFigures(t, step.Call, reply, step.Map)
				} else if problem := mismatch(reply, step.Reply, tokens); problem != "" {
					t.Fatalf("step %d, %s %v: %s", i, step.Call, step.Args, problem)
				}
			}
		})
	}
}

// substitute puts a saved token where the vector has {"token": name}.
func substitute(arg any, tokens map[string]string) any {
	if reference, ok := arg.(map[string]any); ok {
		return tokens[reference["token"].(string)]
	}
	return arg
}

// mismatch compares a reply with what the vector wants, keeping tokens, and says what differs.
func mismatch(got, want any, tokens map[string]string) string {
	switch want := want.(type) {
	case nil:
		if got == nil {
			return ""
		}
	case string:
		if got == want {
			return ""
		}
	case json.Number:
		if fmt.Sprint(got) == want.String() {
			return ""
		}
	case map[string]any:
		return mismatchSpecial(got, want, tokens)
	case []any:
		list, _ := got.([]any)
		if len(list) != len(want) {
			break
		}
		for i := range want {
			if problem := mismatch(list[i], want[i], tokens); problem != "" {
				return problem
			}
		}
		return ""
	}
	return fmt.Sprintf("got %v, want %v", got, want)
}

func mismatchSpecial(got any, want map[string]any, tokens map[string]string) string {
	if name, ok := want["save"]; ok {
		token, _ := got.(string)
		if len(token) < 2 {
			return fmt.Sprintf("got %v, want a token", got)
		}
		tokens[name.(string)] = token
		return ""
	}
	if name, ok := want["token"]; ok {
		if saved := tokens[name.(string)]; got != saved {
			return fmt.Sprintf("got %v, want %v again", got, saved)
		}
		return ""
	}
	limits := want["between"].([]any)
	low, _ := limits[0].(json.Number).Int64()
	high, _ := limits[1].(json.Number).Int64()
	if n, ok := got.(int64); !ok || n < low || n > high {
		return fmt.Sprintf("got %v, want %d to %d", got, low, high)
	}
	return ""
}

func wantFigures(t *testing.T, call string, reply any, want map[string]int64) {
	t.Helper()
	fields, _ := reply.([]any)
	got := map[string]any{}
	for i := 0; i+1 < len(fields); i += 2 {
		got[fields[i].(string)] = fields[i+1]
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s: %s is %v, want %d", call, name, got[name], value)
		}
	}
}

func TestConformanceRefusalsChangeNothing(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, vectorSlot, caching())
	fill(t, r, Key{Slot: vectorSlot, Operation: "op", ID: "id"}, "payload")
	before := snapshot(t, client)
	for _, v := range loadVectors(t).Refusals {
		keys := []string{keyOf(vectorSlot)}
		if v.Keys != nil {
			keys = *v.Keys
		}
		args := make([]any, len(v.Args))
		for i, arg := range v.Args {
			args[i] = arg
		}
		err := client.FCall(t.Context(), v.Call, keys, args...).Err()
		if err == nil || !strings.HasPrefix(err.Error(), "CACHEWRIGHT cw_") {
			t.Errorf("%s %.200q %.200q: got %v, want an error that begins with CACHEWRIGHT and the call", v.Call, keys, v.Args, err)
		}
		if after := snapshot(t, client); !reflect.DeepEqual(before, after) {
			t.Fatalf("%s %.200q %.200q changed Redis from %q to %q", v.Call, keys, v.Args, before, after)
		}
	}
}

// snapshot is everything in Redis.
func snapshot(t *testing.T, client *redis.Client) map[string]string {
	t.Helper()
	dump := map[string]string{}
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		dump[key], err = client.Dump(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
	}
	return dump
}
