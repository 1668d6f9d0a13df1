// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package params_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cachewright/cachewright/cache/internal/params"
)

func mustID(t interface{ Fatalf(string, ...any) }, value any) string {
	id, err := params.ID(value)
	if err != nil {
		t.Fatalf("ID(%#v): %v", value, err)
	}
	return id
}

// The IDs are in the keys of entries that outlive a release, and other languages make the same.
func TestIDIsSpecified(t *testing.T) {
	for _, test := range []struct {
		params    any
		canonical string // printf %s "$canonical" | openssl dgst -sha256 -binary | head -c 18 | basenc --base64url
		want      string
	}{
		{nil, `null`, "dCNOmK_nSY-12vHzasLXiswz"},
		{map[string]any{}, `{}`, "RBNvo1WzZ4oRRq0W9-hknpT7"},
		{"text", `"text"`, "Hh0PJR06dvorG_yBFkB4VyYj"},
		{map[string]any{"page": 2, "filter": map[string]any{"z": 1.5, "a": "<€>"}}, `{"filter":{"a":"<€>","z":1.5},"page":2}`, "b7ER5QUKm8WEIHv5TH4eh8px"},
		{[]float64{1e21, 1e-7, 100}, `[1e+21,1e-7,100]`, "-2MMZx4o1gJv6W6mvl5OHJvr"},
		{9007199254740993, `"\u00009007199254740993e0"`, "QBehgIUCmV7VN84rZVeBQa6V"},
		{"\x00nul", `"\u0000\u0000nul"`, "8c-mG93i2NNBYZvroz2sC2OW"},
	} {
		if got := mustID(t, test.params); got != test.want {
			t.Errorf("ID(%#v) = %s, want that of %s, %s", test.params, got, test.canonical, test.want)
		}
	}
}

func TestIDOfEqualParams(t *testing.T) {
	type query struct {
		B int `json:"b"`
		A int `json:"a"`
	}
	for name, same := range map[string][]any{
		"key order": {
			json.RawMessage(`{"a":1,"b":2}`),
			json.RawMessage(` { "b" : 2.0, "a" : 1e0 } `),
			map[string]int{"b": 2, "a": 1},
			query{A: 1, B: 2},
			&query{A: 1, B: 2},
		},
		"spelling of text":        {json.RawMessage(`"\u00e9\/"`), "é/"},
		"spelling of zero":        {0, 0.0, math.Copysign(0, -1), json.Number("-0.00e5")},
		"spelling of big numbers": {json.RawMessage(`9007199254740993`), json.RawMessage(`9007199254740993.0`), json.RawMessage(`900719925474099.3e1`), uint64(9007199254740993)},
		"kinds of integers":       {int8(5), uint64(5), 5.0, big.NewInt(5)},
	} {
		for _, value := range same[1:] {
			if mustID(t, value) != mustID(t, same[0]) {
				t.Errorf("%s: %#v and %#v have different ids", name, same[0], value)
			}
		}
	}
}

func TestIDOfDistinctParams(t *testing.T) {
	distinct := []any{
		nil, "", "null", false, true, "true", 0, 1, -1, "1", 1.5,
		[]any{},
		map[string]any{},
		[1]int{},
		[]any{nil},
		[]any{1, 2},
		[]any{2, 1},
		[]any{[]any{1}, 2},
		[]any{12},
		"1,2",
		map[string]any{"a": nil},
		map[string]any{"a": "null"},
		map[string]any{"": "a"},
		map[string]any{"a": ""},
		map[string]any{"a": map[string]any{"b": 1}},
		map[string]any{"a": 1, "b": 1},
		int64(math.MaxInt64), int64(math.MaxInt64) - 1, uint64(math.MaxUint64), uint64(math.MaxUint64) - 1, int64(math.MinInt64),
		1<<53 - 1, 1 << 53, 1<<53 + 1, 1<<53 + 2, "9007199254740993", "\x009007199254740993e0", "\x00\x009007199254740993e0",
		[]int64{1<<53 + 1, 1 << 53},
		[]int64{1 << 53, 1<<53 + 1},
		math.MaxFloat64, math.SmallestNonzeroFloat64, 1e21, 1e22, 0.1, 0.2, 0.30000000000000004, 0.3,
		json.Number("0.1000000000000000000000001"), json.Number("1e400"), json.Number("2e400"), json.Number("1e-400"), json.Number("-1e-400"),
		"é", "e\u0301", "\ufffd", "\u2028", "\x00", "\x00\x00", "\\u0000", "<", "\\u003c",
		[]byte{0xff},
		[]byte{0xfe},
		time.Unix(0, 0).UTC(), time.Unix(0, 1).UTC(), netip.MustParseAddr("::1"),
	}
	seen := map[string]any{}
	for _, value := range distinct {
		id := mustID(t, value)
		if other, taken := seen[id]; taken {
			t.Errorf("%#v and %#v share the id %s", value, other, id)
		}
		seen[id] = value
	}
}

type (
	hidden       struct{ id string }
	embedded     struct{ Name string }
	embeds       struct{ embedded }
	embedsNumber struct{ number }
	number       int
	marksHidden  struct{ Hidden hidden }
	leavesOut    struct {
		Hidden hidden `json:"-"`
	}
	writesItself  struct{ id string }
	writesPointer struct{ id string }
	holds         struct{ Value writesPointer }
	notText       string
	fails         struct{}
)

func (w writesItself) MarshalJSON() ([]byte, error)   { return json.Marshal(w.id) }
func (w *writesPointer) MarshalText() ([]byte, error) { return []byte(w.id), nil }
func (notText) MarshalText() ([]byte, error)          { return []byte{0xff}, nil }
func (fails) MarshalJSON() ([]byte, error)            { return nil, errors.New("secret: the customer's name") }

func TestIDRefusesWhatJSONCannotTellApart(t *testing.T) {
	var cycle []any
	cycle = append(cycle, &cycle)
	for name, value := range map[string]any{
		"NaN":                              math.NaN(),
		"infinity":                         map[string]any{"limit": math.Inf(1)},
		"function":                         func() {},
		"channel":                          []any{make(chan int)},
		"complex":                          complex(1, 2),
		"cycle":                            cycle,
		"map with keys that are no text":   map[[1]int]string{{1}: "a"},
		"text that is not UTF-8":           "\xff",
		"key that is not UTF-8":            map[string]int{"\xff": 1},
		"text of a method that is not":     notText(""),
		"raw JSON with a lone surrogate":   json.RawMessage(`"\ud800"`),
		"raw JSON with a key twice":        json.RawMessage(`{"a":1,"a":2}`),
		"number with a monstrous exponent": json.Number("1e99999999999999999999"),
		"unexported field":                 hidden{id: "1"},
		"unexported field behind pointer":  &hidden{id: "1"},
		"in a field":                       marksHidden{},
		"in a slice":                       []hidden{{}},
		"in a map":                         map[string]any{"query": hidden{}},
		"embedded number":                  embedsNumber{number: 1},
		"method that is not used":          writesPointer{id: "1"},
		"failing method":                   fails{},
	} {
		id, err := params.ID(value)
		if err == nil {
			t.Errorf("%s: got %q, want an error", name, id)
			continue
		}
		if strings.Contains(err.Error(), "secret") || err.Error() == "" {
			t.Errorf("%s: the message is %q", name, err)
		}
	}
}

func TestIDAcceptsWhatItsTypeWrites(t *testing.T) {
	for name, value := range map[string]any{
		"MarshalJSON":                   writesItself{id: "1"},
		"MarshalText of a pointer":      &writesPointer{id: "1"},
		"MarshalText where addressable": &holds{Value: writesPointer{id: "1"}},
		"time":                          map[string]time.Time{"since": time.Unix(0, 0)},
		"big integer":                   big.NewInt(1),
		"field that does not count":     leavesOut{},
		"embedded struct":               embeds{embedded{Name: "Ada"}},
		"nil pointer":                   (*hidden)(nil),
	} {
		if _, err := params.ID(value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if mustID(t, embeds{embedded{Name: "Ada"}}) == mustID(t, embeds{embedded{Name: "Bob"}}) {
		t.Error("fields of an embedded struct do not count")
	}
}

// jsonValue draws any JSON, numbers beyond doubles included, in the form of json.Decoder.UseNumber.
func jsonValue() *rapid.Generator[any] {
	scalar := rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Bool().AsAny(),
		rapid.String().AsAny(),
		rapid.Map(rapid.Int64(), func(n int64) any { return n }),
		rapid.Map(rapid.Uint64(), func(n uint64) any { return n }),
		rapid.Map(rapid.Int64Range(-1<<54, 1<<54), func(n int64) any { return n }),
		rapid.Map(rapid.Float64Range(-1e300, 1e300), func(f float64) any { return f }),
	)
	return rapid.Custom(func(t *rapid.T) any {
		switch depth := rapid.IntRange(0, 3).Draw(t, "kind"); depth {
		case 0:
			return rapid.SliceOfN(scalar, 0, 4).Draw(t, "list")
		case 1:
			return rapid.MapOfN(rapid.String(), scalar, 0, 4).Draw(t, "object")
		case 2:
			return []any{rapid.MapOfN(rapid.String(), rapid.SliceOfN(scalar, 0, 3).AsAny(), 0, 3).Draw(t, "nested"), scalar.Draw(t, "scalar")}
		default:
			return scalar.Draw(t, "scalar")
		}
	})
}

// exactly is JSON decoded without rounding; equal params have equal ones.
func exactly(t *rapid.T, v any) any {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("marshalling %#v: %v", v, err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("decoding %s: %v", text, err)
	}
	return value
}

func same(a, b any) bool {
	switch a := a.(type) {
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !same(a[i], b[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for key := range a {
			if value, there := b[key]; !there || !same(a[key], value) {
				return false
			}
		}
		return true
	case json.Number:
		b, ok := b.(json.Number)
		return ok && rational(a).Cmp(rational(b)) == 0
	default:
		return a == b
	}
}

func rational(n json.Number) *big.Rat {
	r, _ := new(big.Rat).SetString(n.String())
	return r
}

func TestPropertyIDsAreEqualIffParamsAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := jsonValue().Draw(t, "a")
		b := rapid.OneOf(jsonValue(), rapid.Just(a), neighbours(a)).Draw(t, "b")
		if got, want := mustID(t, a) == mustID(t, b), same(exactly(t, a), exactly(t, b)); got != want {
			t.Fatalf("ids of %#v and %#v are equal: %v, want %v", a, b, got, want)
		}
	})
}

// neighbours draws what is as near as can be to an integer: a double would take them for the same.
func neighbours(value any) *rapid.Generator[any] {
	switch n := value.(type) {
	case int64:
		return rapid.Map(rapid.Int64Range(-2, 2), func(d int64) any { return n + d })
	case uint64:
		return rapid.Map(rapid.Uint64Range(0, 2), func(d uint64) any { return n + d })
	default:
		return rapid.Just(value)
	}
}

func TestPropertyIDHasThePromisedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := mustID(t, jsonValue().Draw(t, "params"))
		if len(id) != 24 || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Fatalf("the id is %q", id)
		}
	})
}

func FuzzIDOfRawJSON(f *testing.F) {
	for _, seed := range []string{`{"b":[1e400,-0,9007199254740993],"a":"\u0000\ufffd\\"}`, `"\ud800"`, `1e-999999999`, ` [ ] `, `{"a":{"a":{}}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		id, err := params.ID(json.RawMessage(text))
		if err == nil && len(id) != 24 {
			t.Errorf("the id is %q", id)
		}
		if err != nil && err.Error() == "" {
			t.Error("the error says nothing")
		}
	})
}

func BenchmarkID(b *testing.B) {
	type query struct {
		Filter map[string]string `json:"filter"`
		Page   int               `json:"page"`
	}
	for name, value := range map[string]any{
		"string": "user-123",
		"struct": query{Filter: map[string]string{"country": "fr", "status": "active"}, Page: 3},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := params.ID(value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Plain params take a short way to the same ID.
func TestPropertyShortWayToAnIDLeadsToTheSame(t *testing.T) {
	type (
		text   string
		number int64
	)
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~]{0,20}`)).Draw(t, "s")
		n := rapid.Int64().Draw(t, "n")
		for _, pair := range [][2]any{{s, text(s)}, {n, number(n)}, {int(n), number(n)}, {int32(n), number(int32(n))}, {n % 1e15, number(n % 1e15)}} {
			short, shortErr := params.ID(pair[0])
			long, longErr := params.ID(pair[1])
			if short != long || (shortErr == nil) != (longErr == nil) {
				t.Errorf("%#v: %q, %v and %q, %v", pair[0], short, shortErr, long, longErr)
			}
		}
	})
}
