// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"reflect"
	"slices"

	"pgregory.net/rapid"
)

// step is one thing that happens to a slot. A sequence says everything beforehand; what does not
// fit then is left out.
type step struct {
	Do      string
	Key     key
	Mode    string // of an invalidation, and what of the key it covers
	Scope   string
	Request string
	Token   int // counted from the last
	Forge   string
	Lock    int64 // ms
	Option  string
	TTL     int64 // ms that a fill asks for; 0: none
	Schema  string
	Size    int
	Policy  policy
	Victim  string
	Flag    bool
	// Unleased: the token is of heads that an MGET found, if it may be.
	Unleased bool
}

// String leaves out what is not said.
func (s step) String() string {
	text, v := s.Do, reflect.ValueOf(s)
	for i := 1; i < v.NumField(); i++ {
		if !v.Field(i).IsZero() {
			text += fmt.Sprintf(" %s:%+v", v.Type().Field(i).Name, v.Field(i))
		}
	}
	return text
}

// GoString is how rapid shows it.
func (s step) GoString() string { return "\n" + s.String() }

// Names with bytes that stand between names in keys.
var (
	operations = []string{"list", "4:list", "x"}
	userIDs    = []string{"", "u", "u", "1:u"}
	entryIDs   = []string{"a", "a", "", ":a"}
	requestIDs = []string{"", "", "r1", "r2"}
)

// frequencies of what happens; those at the beginning make for short sequences that say why.
var frequencies = []struct {
	do    string
	times int
}{
	{"fill", 24},
	{"get", 14},
	{"set", 12},
	{"read", 10},
	{"invalidate", 10},
	{"delete", 7},
	{"apply", 7},
	{"reclaim", 3},
	{"unlock", 3},
	{"hold", 6},
	{"release", 4},
	{"evict", 6},
	{"sync", 3},
	{"fail over", 3},
	{"stats", 3},
	{"report", 2},
	{"look at the policy", 2},
	{"reload", 1},
	{"delete the policy", 1},
	{"fill many", 1},
	{"wait", 1},
	{"say nonsense", 1},
}

// victims are the kinds of keys that may be evicted.
var victims = []string{"m", "o", "u", "e", "l", "policy", "counters", "i", "chunk", "iu", "d", "r", "pending", "a"}

func whatHappens() []string {
	var all []string
	for _, f := range frequencies {
		for range f.times {
			all = append(all, f.do)
		}
	}
	return all
}

// sequences generates sequences of steps.
func sequences() *rapid.Generator[[]step] {
	kinds := rapid.SampledFrom(whatHappens())
	some := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step { return drawStep(t, kinds) }), 0, 20)
	return rapid.Custom(func(t *rapid.T) (all []step) {
		for range 4 {
			all = append(all, some.Draw(t, "some")...)
		}
		return all
	})
}

// For the library's mutants, the numbers of sequences must not change. So what came later takes the
// place of other steps.

// ofVersions lets applications of two versions, and one without, take turns in a sequence.
func ofVersions(all []step) []step {
	for i := range all {
		switch all[i].Do {
		case "get", "set", "fill", "put":
			all[i].Schema = []string{"v1", "", "v1", "v2"}[i%4]
		}
	}
	return all
}

// ofHeads lets half of the loads begin without a lease.
func ofHeads(all []step) []step {
	for i := range all {
		switch all[i].Do {
		case "get", "set", "fill":
			all[i].Unleased = i%2 == 0
		}
	}
	return all
}

// ofPuts lets some fills need no token, and some of all fills ask for a TTL.
func ofPuts(all []step) []step {
	ttls := []int64{0, 5_000, 0, 60_000, 30, 0, 700_000}
	for i := range all {
		switch all[i].Do {
		case "set", "fill":
			all[i].TTL = ttls[i%len(ttls)]
			if i%3 != 0 {
				all[i].Do = "put"
			}
		}
	}
	return all
}

// ofLaggingSources lets the policies of a sequence have lags, and some evictions take the key that
// says that entries are held.
func ofLaggingSources(all []step) []step {
	whole, own := []int64{0, shortLag, longLag, 0}, []int64{0, longLag, -1, shortLag, 0}
	for i := range all {
		switch {
		case all[i].Do == "apply":
			all[i].Policy.Lag = whole[i%len(whole)]
			for op, r := range all[i].Policy.Operations {
				r.Lag = own[(i+len(op))%len(own)]
				all[i].Policy.Operations[op] = r
			}
		case all[i].Do == "evict" && i%3 == 0:
			all[i].Victim = "h"
		}
	}
	return all
}

func drawStep(t *rapid.T, kinds *rapid.Generator[string]) step {
	s := step{Do: kinds.Draw(t, "do")}
	s.Key = key{pick(t, slices.Concat(operations, operations[:1])...), pick(t, userIDs...), pick(t, entryIDs...)}
	switch s.Do {
	case "fill", "set", "fill many":
		s.Token = rapid.IntRange(0, 4).Draw(t, "token")
		s.Option = pick(t, "", "", "", "room", "negative", "negative room")
		s.Size = pick(t, 3, 0, 30)
		s.Forge = pick(t, "", "", "", "", "byte", "cut", "more", "mark", "none")
		s.Lock = pick[int64](t, 0, 0, 60_000)
	case "get":
		s.Lock = pick[int64](t, 0, 60_000)
	case "invalidate":
		s.Scope, s.Mode, s.Request = pick(t, "user's operation", "operation", "user", "module"), pick(t, "hard", "soft", "dry"), pick(t, requestIDs...)
	case "apply":
		s.Policy, s.Flag = drawPolicy(t), rapid.Bool().Draw(t, "reclaim")
	case "hold", "release":
		s.Scope, s.Request = pick(t, "entry", "entry", "user's operation", "operation", "user", "module"), pick(t, "A", "A", "B", "C")
		s.Size, s.Flag = pick(t, 1, 1, 1, 0), rapid.Bool().Draw(t, "entry besides")
	case "evict":
		s.Victim, s.Request = pick(t, victims...), pick(t, requestIDs...)
	case "fail over", "reload":
		s.Flag = rapid.Bool().Draw(t, "flag")
	case "report", "wait", "say nonsense":
		s.Size = rapid.IntRange(0, 40).Draw(t, "size")
	}
	return s
}

func drawPolicy(t *rapid.T) policy {
	p := policy{
		Revision: pick(t, "", "", "1", "2"), Default: pick[int64](t, 60_000, 600_000, 0), Operations: map[string]rule{},
	}
	for _, op := range operations[:2] {
		if rapid.Bool().Draw(t, "listed") {
			p.Operations[op] = rule{
				TTL: pick[int64](t, 60_000, 60_000, 600_000, 0, 30), Stale: pick[int64](t, 0, 600_000), Negative: pick[int64](t, 60_000, 0, 10_000),
				Jitter: pick[int64](t, 0, 0, 50), UsersOnly: pick(t, false, false, false, true), MaxBytes: pick[int64](t, 0, 0, 10),
			}
		}
	}
	return p
}

func pick[V any](t *rapid.T, from ...V) V { return rapid.SampledFrom(from).Draw(t, "pick") }
