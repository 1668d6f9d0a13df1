// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

type jsonCodec struct{}

func (jsonCodec) Marshal(value any) ([]byte, error)       { return json.Marshal(value) }
func (jsonCodec) Unmarshal(payload []byte, out any) error { return json.Unmarshal(payload, out) }

type gobCodec struct{}

func (gobCodec) Marshal(value any) ([]byte, error) {
	var buffer bytes.Buffer
	err := gob.NewEncoder(&buffer).Encode(value)
	return buffer.Bytes(), err
}

func (gobCodec) Unmarshal(payload []byte, out any) error {
	return gob.NewDecoder(bytes.NewReader(payload)).Decode(out)
}

type (
	point   struct{ X, Y int }
	account struct {
		Name   string
		secret string
	}
	tagged struct {
		Name  string
		cache string `json:"-"`
		Other string `json:"-"`
	}
	embedded struct {
		point
		Name string
	}
	embedsPointer struct{ *point }
	guarded       struct {
		mu    sync.Mutex
		once  sync.Once
		calls atomic.Int64
		N     int
	}
	omitting struct {
		List []int          `json:",omitempty"`
		Map  map[string]int `json:",omitempty"`
		At   *point         `json:",omitempty"`
		Any  any            `json:",omitempty"`
	}
	other     struct{ X int }
	colliding struct {
		point
		other
	}
	shape  interface{ Area() int }
	square struct{ Side int }
	named  struct{ Err error }
	// oneWay encodes itself, but does not decode itself.
	oneWay struct{ Celsius int }
	// message has the method by which messages of Protocol Buffers are known.
	message struct {
		state int
		Name  string
	}
	tree struct {
		Name     string
		Children []*tree
		hidden   int
	}
)

func (s square) Area() int { return s.Side * s.Side }

func (o oneWay) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]int{"degrees": o.Celsius})
}
func (*message) ProtoReflect() {}

func used() *guarded {
	g := &guarded{N: 1}
	g.once.Do(func() { g.calls.Add(1) })
	g.mu.Lock()
	return g
}

func TestValuesThatSurviveTheirCodec(t *testing.T) {
	link, err := url.Parse("https://user:password@example.org/path?query#fragment")
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]any{
		"text": "text", "a number": 1.5, "bytes": []byte{0, 0xff}, "nothing": (*point)(nil), "a pointer": &point{1, 2},
		"no elements": []int{}, "no entries": map[string]int{}, "an empty struct": struct{}{},
		"a time of now": time.Now(), "times": []time.Time{time.Now(), {}}, "a large number": new(big.Int).Lsh(big.NewInt(1), 100),
		"zero": new(big.Int), "an address": netip.MustParseAddr("::1"), "raw JSON": json.RawMessage(`{"a" : 1}`), "a URL": link,
		"empty fields": omitting{List: []int{}, Map: map[string]int{}, At: &point{}, Any: []int{}},
		"interfaces":   map[string]any{"n": 1, "t": time.Now(), "p": point{1, 2}, "list": []int{1}},
		"an embedded struct that is not exported": embedded{point{1, 2}, "name"}, "fields that are left out": tagged{"a", "b", "c"},
		"an unexported field without a value": account{Name: "a"}, "locks": used(), "a message": &message{1, "a"},
		"a tree":              tree{Name: "a", Children: []*tree{{Name: "b"}, {Name: "c", Children: []*tree{nil}}}},
		"a map with int keys": map[int]point{1: {1, 2}}, "a struct of pointers": struct{ A, B *int }{new(int), nil},
	} {
		payload, err := NewEncoder(jsonCodec{}, 1).Encode("users", "get", value, reflect.TypeOf(value))
		if err != nil || payload == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, value := range map[string]any{
		"a number that is none": math.NaN(), "pointers to nothing": struct{ A *int }{new(int)},
		"a time": struct{ At time.Time }{time.Now()}, "maps of maps": map[string]map[string]int{"a": {"b": 1}},
	} {
		if _, err := NewEncoder(gobCodec{}, 1).Encode("users", "get", value, reflect.TypeOf(value)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValuesThatDoNotSurviveTheirCodec(t *testing.T) {
	hidden := tree{Name: "a", Children: []*tree{{Name: "b"}, {Name: "c", hidden: 1}}}
	for name, test := range map[string]struct {
		value any
		as    reflect.Type
		want  string
	}{
		"a field that is not exported":    {value: account{"ada", "secret"}, want: "codec.account.secret is not exported and is lost"},
		"behind a pointer":                {value: &account{"ada", "secret"}, want: "codec.account.secret"},
		"in a list":                       {value: []account{{"ada", ""}, {"bob", "secret"}}, want: "codec.account.secret"},
		"in a map":                        {value: map[string]account{"a": {"bob", "secret"}}, want: "codec.account.secret"},
		"in an interface":                 {value: struct{ Any any }{account{"ada", "secret"}}},
		"deep in a tree":                  {value: hidden, want: "codec.tree.hidden"},
		"read as anything":                {value: account{"ada", "secret"}, as: reflect.TypeFor[any](), want: "codec.account.secret"},
		"a pointer to no exported struct": {value: embedsPointer{&point{1, 2}}, want: "it cannot be decoded"},
		"fields of one name":              {value: colliding{point{1, 2}, other{3}}, want: "codec.point.X is lost"},
		"an interface with methods":       {value: square{2}, as: reflect.TypeFor[shape](), want: "it cannot be decoded into a codec.shape"},
		"an error":                        {value: named{errors.New("an error")}, want: "it cannot be decoded"},
		"what does not decode itself":     {value: oneWay{20}, want: "codec.oneWay.Celsius is lost"},
		"text that is not UTF-8":          {value: struct{ Text string }{"\xff"}, want: ".Text is changed"},
	} {
		as := test.as
		if as == nil {
			as = reflect.TypeOf(test.value)
		}
		payload, err := NewEncoder(jsonCodec{}, 1).Encode("users", "get", test.value, as)
		if test.want == "" {
			if err != nil {
				t.Errorf("%s: %v, want differences within an interface to pass", name, err)
			}
			continue
		}
		if !errors.Is(err, ErrCodec) || payload != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %q, %v, want an error about %q", name, payload, err, test.want)
		}
		for _, secret := range []string{"ada", "bob\"", "\"secret\"", "an error"} {
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %v quotes a value", name, err)
			}
		}
	}
}

// Where readers are not known, a value that cannot be decoded as it is may be read as another type.
func TestReadersThatAreNotKnownMayUseAnotherType(t *testing.T) {
	if _, err := NewEncoder(jsonCodec{}, 1).Encode("users", "get", named{errors.New("no")}, nil); err != nil {
		t.Error(err)
	}
}

// countingCodec counts what is decoded.
type countingCodec struct {
	jsonCodec

	decoded *int
}

func (c countingCodec) Unmarshal(payload []byte, out any) error {
	*c.decoded++
	return c.jsonCodec.Unmarshal(payload, out)
}

// The first value of each operation and type is decoded, then one in so many, and each one once a
// value was refused.
func TestAPartOfTheValuesIsTried(t *testing.T) {
	decoded := 0
	e := NewEncoder(countingCodec{decoded: &decoded}, 10)
	encode := func(operation string, value any) error {
		_, err := e.Encode("users", operation, value, reflect.TypeOf(value))
		return err
	}
	for i := range 20 {
		for _, operation := range []string{"get", "list"} {
			if err := errors.Join(encode(operation, account{Name: "a"}), encode(operation, point{1, 2})); err != nil {
				t.Fatal(err)
			}
		}
		if want := 4 * (1 + i/10); decoded != want {
			t.Fatalf("after %d values of four kinds, %d were decoded, want %d", i+1, decoded, want)
		}
	}
	if err := encode("get", account{"a", "secret"}); err == nil || Known(err) {
		t.Errorf("the first value that is lost: %v", err)
	}
	before := decoded
	for range 5 {
		if err := encode("get", account{"a", "secret"}); !Known(err) {
			t.Errorf("a later one: %v", err)
		}
		if err := encode("get", account{Name: "a"}); err != nil {
			t.Errorf("one that survives, after those: %v", err)
		}
	}
	if got := decoded - before; got != 10 {
		t.Errorf("%d of 10 values were decoded, after one was lost", got)
	}
	if err := errors.Join(encode("list", account{Name: "a"}), encode("list", account{"a", "secret"})); err != nil {
		t.Errorf("one of another operation, which is not tried: %v", err)
	}
}

func TestFewOperationsAreTried(t *testing.T) {
	decoded := 0
	e := NewEncoder(countingCodec{decoded: &decoded}, 1)
	for i := range maxSubjects + 10 {
		if _, err := e.Encode("users", strings.Repeat("x", i), "value", nil); err != nil {
			t.Fatal(err)
		}
	}
	if decoded != maxSubjects {
		t.Errorf("%d were decoded, want %d", decoded, maxSubjects)
	}
}
