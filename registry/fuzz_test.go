// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry/internal/parse"
	"github.com/cachewright/cachewright/registry/internal/wire"
)

// Redis and callers may send anything. The result is a miss, a refusal or what the protocol
// specifies, never a crash and never a false hit.

// naiveEntry is what docs/protocol.md says of an entry, read sentence by sentence.
type naiveEntry struct {
	hit, stale, negative bool
	freshUntil           uint64
	schema               string
	payload              []byte
}

func naiveDecode(value []byte, heads [][]byte) naiveEntry {
	miss := naiveEntry{}
	if len(value) < 18 || value[0] != 1 {
		return miss
	}
	has := func(flag byte) bool { return value[1]&flag == flag }
	ofUser := len(heads) == 3
	if has(8) || has(128) || has(1) != ofUser || has(64) && !ofUser {
		return miss
	}
	rest := bytes.NewBuffer(slices.Clone(value[18:]))
	for i, head := range heads {
		valid := [][]int{{11, 22}, {22, 33}, {11, 22}}[i]
		if epoch := rest.Next(11); len(epoch) < 11 || !slices.Contains(valid, len(head)) || string(head[:11]) != string(epoch) {
			return miss
		}
	}
	entry := naiveEntry{hit: true, negative: has(2), freshUntil: binary.BigEndian.Uint64(value[2:10])}
	for i, head := range heads {
		soft := ""
		if has(byte(16 << i)) {
			if soft = string(rest.Next(11)); len(soft) < 11 {
				return miss
			}
		}
		softAt := []int{11, 22, 11}[i] // an operation's head has its fence in between
		entry.stale = entry.stale || soft != string(head[softAt:])
	}
	if has(4) {
		length, err := rest.ReadByte()
		if entry.schema = string(rest.Next(int(length))); err != nil || length == 0 || len(entry.schema) < int(length) {
			return miss
		}
	}
	entry.payload = rest.Bytes()
	return entry
}

const (
	moduleEpoch    = "MMMMMMMMMMM"
	operationEpoch = "OOOOOOOOOOO"
	userEpoch      = "UUUUUUUUUUU"
	fence          = "FFFFFFFFFFF"
	softEpoch      = "SSSSSSSSSSS"
	freshForever   = "\x00\x00\x10\x00\x00\x00\x00\x00"
)

// addEntries seeds the fuzzing of an entry and its heads with the conformance vectors. It adds
// bytes that are hard to find: an entry whose epochs are in place.
func addEntries(f *testing.F) {
	f.Helper()
	for _, v := range loadVectors(f).Entries {
		heads := make([]string, 3)
		for i, head := range v.Heads {
			heads[i] = head.orEmpty()
		}
		f.Add([]byte(v.Value.orEmpty()), []byte(heads[0]), []byte(heads[1]), []byte(heads[2]), len(v.Heads) == 3)
	}
	shared := moduleEpoch + operationEpoch
	for _, flags := range []byte{0, 2, 4, 8, 16, 48, 64, 128} {
		f.Add([]byte{1, flags}, []byte(moduleEpoch+softEpoch), []byte(operationEpoch+fence), []byte{}, false)
		f.Add([]byte("\x01"+string(flags)+freshForever+shared+softEpoch+softEpoch+"payload"),
			[]byte(moduleEpoch+softEpoch), []byte(operationEpoch+fence), []byte{}, false)
	}
	for _, carried := range []string{"\x02v2payload", "\x03v2 payload", "\x00payload", "\x09v2payload", "\x08v2payload", "\x02v3", "\x01", ""} {
		f.Add([]byte("\x01\x04"+freshForever+shared+carried), []byte(moduleEpoch), []byte(operationEpoch+fence), []byte{}, false)
	}
	f.Add([]byte("\x01\x41"+freshForever+shared+userEpoch+softEpoch+"payload"),
		[]byte(moduleEpoch), []byte(operationEpoch+fence), []byte(userEpoch+softEpoch), true)
	f.Add([]byte("\x01\x00"+freshForever), []byte{}, []byte{}, []byte{}, false)
	for _, heads := range [][2]string{
		{moduleEpoch + "half", operationEpoch + fence},
		{moduleEpoch, operationEpoch},
		{moduleEpoch, operationEpoch + fence + "half"},
		{moduleEpoch + softEpoch + "more", operationEpoch + fence},
	} {
		f.Add([]byte("\x01\x00"+freshForever+shared+"payload"), []byte(heads[0]), []byte(heads[1]), []byte{}, false)
	}
}

func FuzzDecodeLive(f *testing.F) {
	addEntries(f)
	f.Fuzz(func(t *testing.T, value, module, operation, user []byte, ofUser bool) {
		heads := [][]byte{module, operation}
		if ofUser {
			heads = append(heads, user)
		}
		checkDecoding(t, value, heads)
		// Random bytes have no epochs in common: the same with those of the heads put in.
		checkDecoding(t, withEpochsOf(heads, value), heads)
	})
}

// withEpochsOf writes the epochs of the heads over where an entry has its own.
func withEpochsOf(heads [][]byte, value []byte) []byte {
	value = slices.Clone(value)
	for i, head := range heads {
		if at := wire.HeaderFixedLen + i*wire.EpochLen; at < len(value) {
			copy(value[at:], head[:min(wire.EpochLen, len(head))])
		}
	}
	return value
}

func checkDecoding(t *testing.T, value []byte, heads [][]byte) {
	t.Helper()
	texts := make([]string, len(heads))
	for i, head := range heads {
		texts[i] = string(head)
	}
	want := naiveDecode(value, heads)
	got, hit := wire.DecodeLive(string(value), texts...)
	if hit != want.hit || got.SoftStale != want.stale || got.Negative != want.negative || got.Schema != want.schema || got.Payload != string(want.payload) {
		t.Fatalf("%q under %q: got (%v, %+v), want %+v", value, heads, hit, got, want)
	}
	if !hit {
		return
	}
	if until := time.UnixMilli(int64(min(want.freshUntil, 1<<53))); !got.FreshUntil.Equal(until) {
		t.Errorf("%q: fresh until %v, want %v", value, got.FreshUntil, until)
	}
	for at := wire.HeaderFixedLen; at < wire.HeaderFixedLen+wire.EpochLen*len(heads); at++ {
		other := slices.Clone(value)
		other[at] ^= 1
		if _, hit := wire.DecodeLive(string(other), texts...); hit {
			t.Errorf("%q under %q: a hit with another epoch", other, heads)
		}
	}
}

// The two readers, by MGET in Go and in the library, agree on any bytes. No bytes prevent the next
// load.
func FuzzReadersAgree(f *testing.F) {
	addEntries(f)
	r, client := fuzzRegistry(f)
	f.Fuzz(func(t *testing.T, value, module, operation, user []byte, ofUser bool) {
		key, heads := entry("list", "a", ""), [][]byte{module, operation}
		if ofUser {
			key, heads = entry("list", "a", "u"), append(heads, user)
		}
		for i, value := range [][]byte{value, withEpochsOf(heads, value), value, withEpochsOf(heads, value)} {
			if i >= 2 {
				key.Schema = "v2"
			}
			client.FlushDB(t.Context())
			apply(t, r, users, caching())
			for i, content := range append([][]byte{value}, heads...) {
				if err := client.Set(t.Context(), key.appendReadKeys(nil)[i], content, time.Minute).Err(); err != nil {
					t.Fatal(err)
				}
			}
			byMGet, err := r.Read(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			byLibrary := lease(t, r, key)
			token := byLibrary.Token
			byMGet.Remaining, byLibrary.Remaining = 0, 0 // by two clocks
			byMGet.Token, byMGet.Cacheable, byMGet.Held = token, byLibrary.Cacheable, byLibrary.Held
			if !reflect.DeepEqual(byMGet, byLibrary) {
				t.Fatalf("%q under %q: MGET finds %+v, cw_get %+v", value, heads, byMGet, byLibrary)
			}
			if byLibrary.Hit && !byLibrary.Stale {
				continue
			}
			filled, err := r.Set(t.Context(), key, []byte("loaded"), token)
			if byLibrary.Held > 0 {
				if err != nil || filled.Outcome != Fenced {
					t.Fatalf("%q under %q: a load while a hold covers it was %s (%v)", value, heads, filled.Outcome, err)
				}
				continue
			}
			if err != nil || filled.Outcome != Stored {
				t.Fatalf("%q under %q: the next load was %s (%v)", value, heads, filled.Outcome, err)
			}
			if found, err := r.Read(t.Context(), key); err != nil || string(found.Payload) != "loaded" || found.Stale {
				t.Fatalf("%q under %q: after the next load MGET finds %+v (%v)", value, heads, found, err)
			}
		}
	})
}

func FuzzParseLookup(f *testing.F) {
	for _, reply := range []string{
		`[0, "0"]`, `[0, "1MMMMMMMMMMMOOOOOOOOOOOFFFFFFFFFFF"]`, `[0, "1token", 500]`, `[0]`, `[0, 0]`, `[0, null]`, `[0, ""]`,
		`[1, "payload", 60000, 0]`, `[1, "payload", 0, 1]`, `[1, "payload", 0, 1, "2token"]`, `[2, "", 60000, 0]`,
		`[1, "payload"]`, `[1, "payload", "60000", "0"]`, `[3, "payload", 60000, 0]`, `["1", "payload", 60000, 0]`,
		`[1, "payload", -9223372036854775808, 0]`, `[1, "payload", 9223372036854775807, 0]`,
		`null`, `0`, `"OK"`, `[]`, `[[1, "payload", 60000, 0]]`, `{"1": "payload"}`, `[1.5, "payload", 60000, 0]`,
	} {
		f.Add([]byte(reply))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		var reply any
		if decoder.Decode(&reply) != nil {
			return
		}
		reply = asRedisReplies(reply)
		fields, _ := reply.([]any)
		lookup, ok := parse.LookupOf(reply)
		if !ok {
			if !reflect.DeepEqual(lookup, parse.Lookup{}) {
				t.Errorf("%s is no answer and yet %+v", text, lookup)
			}
			if isDocumentedLookup(fields) {
				t.Errorf("%s is an answer of cw_get", text)
			}
			return
		}
		if hit := fields[0] == int64(1) || fields[0] == int64(2); lookup.Hit != hit || hit && string(lookup.Payload) != fields[1] {
			t.Errorf("%s: got %+v", text, lookup)
		}
		if lookup.Hit && (lookup.Negative != (fields[0] == int64(2)) || lookup.Stale != (fields[3] == int64(1)) || lookup.Remaining < 0) {
			t.Errorf("%s: got %+v", text, lookup)
		}
		if !lookup.Hit && (string(lookup.Token) != fields[1] || lookup.Cacheable != (fields[1] != "0") || lookup.Payload != nil) {
			t.Errorf("%s: got %+v", text, lookup)
		}
	})
}

// asRedisReplies makes the numbers of JSON those that the client has, integers where they are.
func asRedisReplies(reply any) any {
	switch reply := reply.(type) {
	case json.Number:
		if n, err := reply.Int64(); err == nil {
			return n
		}
		n, _ := reply.Float64()
		return n
	case []any:
		for i := range reply {
			reply[i] = asRedisReplies(reply[i])
		}
	}
	return reply
}

func isDocumentedLookup(fields []any) bool {
	var form strings.Builder
	for _, field := range fields {
		switch field.(type) {
		case int64:
			form.WriteByte('n')
		case string:
			form.WriteByte('s')
		default:
			form.WriteByte('?')
		}
	}
	switch form.String() {
	case "ns", "nsn":
		return fields[0] == int64(0)
	case "nsnn", "nsnns":
		return fields[0] == int64(1) || fields[0] == int64(2)
	default:
		return false
	}
}

// Keys of different entries differ, and a key says which entry's it is.
func FuzzEntryKey(f *testing.F) {
	for _, v := range loadVectors(f).Keys {
		f.Add([]byte(v.Operation), []byte(v.User), []byte(v.ID), []byte("list"), []byte{}, []byte("a"))
	}
	f.Add([]byte("a"), []byte("b"), []byte("c"), []byte("a"), []byte{}, []byte("b:c"))
	f.Add([]byte("1:a"), []byte{}, []byte{}, []byte("a"), []byte("1"), []byte(":"))
	f.Fuzz(func(t *testing.T, op1, user1, id1, op2, user2, id2 []byte) {
		one, other := entry(string(op1), string(id1), string(user1)), entry(string(op2), string(id2), string(user2))
		for _, key := range []Key{one, other} {
			if got := parseEntryKey(t, key.appendReadKeys(nil)[0]); got != key {
				t.Errorf("the key of %q reads as that of %q", key, got)
			}
		}
		if (one == other) != (one.appendReadKeys(nil)[0] == other.appendReadKeys(nil)[0]) {
			t.Errorf("%q and %q have the key %q", one, other, one.appendReadKeys(nil)[0])
		}
	})
}

func parseEntryKey(t *testing.T, key string) Key {
	t.Helper()
	rest, found := strings.CutPrefix(key, keyOf(users)+":e:")
	cut := func() string {
		digits, after, _ := strings.Cut(rest, ":")
		n, err := strconv.Atoi(digits)
		if err != nil || !found || n >= len(after) || after[n] != ':' {
			t.Fatalf("%q is no key of an entry", key)
		}
		rest = after[n+1:]
		return after[:n]
	}
	operation := cut()
	user := cut()
	return entry(operation, rest, user)
}

// A fill is stored if and only if a lease gave its token and nothing was invalidated since. The
// fuzzer chooses history and token.
func FuzzToken(f *testing.F) {
	for _, history := range []string{"", "l", "L", "lm", "li", "ldl", "lxl", "ldxL", "lil", "lsl", "lml", "loa", "lde", "led", "ldddddL", "Lu", "lSl"} {
		for _, forgery := range []string{"", "rsome bytes", "r1", "r2", "t\x05", "t\x21", "x\x00\x03", "x\x01\x01", "x\x18\x80", "ax", "p\x0c\x01", "p\x17\x01", "i\x01\x00"} {
			f.Add([]byte(history), uint8(0), []byte(forgery), false)
			f.Add([]byte(history), uint8(0), []byte(forgery), true)
		}
	}
	r, client := fuzzRegistry(f)
	f.Fuzz(func(t *testing.T, history []byte, base uint8, forgery []byte, ofUser bool) {
		if len(history) > 64 {
			return
		}
		client.FlushDB(t.Context())
		book := &tokenBook{r: r, client: client, entry: entry("list", "a", "")}
		if ofUser {
			book.entry.User = "u"
		}
		for _, slot := range []Slot{users, otherSlot} {
			apply(t, r, slot, Policy{DefaultTTL: new(time.Minute)})
		}
		for _, step := range history {
			book.take(t, step)
		}
		token := book.forge(int(base), forgery)
		filled, err := r.Set(t.Context(), book.entry, []byte("payload"), token)
		if token == "" {
			if !errors.Is(err, ErrRejected) {
				t.Fatalf("an empty token: %v (%v)", filled.Outcome, err)
			}
			return
		}
		if err != nil {
			t.Fatalf("after %q, token %q: %v", history, token, err)
		}
		want := Fenced
		if book.isValid(token) {
			want = Stored
		}
		if filled.Outcome != want {
			t.Fatalf("after %q, token %q of %+v: %v, want %v", history, token, book.tokens, filled.Outcome, want)
		}
		if isHit(t, r, book.entry) != (want == Stored) {
			t.Fatalf("after %q, token %q: %v, but it is otherwise in the cache", history, token, want)
		}
	})
}

var otherSlot = Slot{Namespace: "shop", Module: "other"}

// tokenBook keeps the tokens of a history and says, by the rules and not by the library, what they
// are worth.
type tokenBook struct {
	r      *Registry
	client *redis.Client
	entry  Key // what is filled
	tokens []bookedToken
}

type bookedToken struct {
	Token

	valid     bool // for the entry
	deletions int  // of other entries of the operation since
}

func (b *tokenBook) take(t *testing.T, step byte) {
	t.Helper()
	ctx := t.Context()
	switch step {
	case 'l', 'L', 'o', 'a':
		key, lock := b.entry, time.Duration(0)
		switch step {
		case 'L':
			lock = time.Minute
		case 'o':
			key.Operation = "other"
		case 'a':
			key.Slot = otherSlot
		}
		lookup, err := b.r.LeaseLocked(ctx, key, lock)
		b.must(t, err)
		b.tokens = append(b.tokens, bookedToken{Token: lookup.Token, valid: key == b.entry})
	case 'd', 'x':
		key := b.entry
		if step == 'd' {
			key.ID = "b"
		}
		_, err := b.r.Delete(ctx, key)
		b.must(t, err)
		for i := range b.tokens {
			b.tokens[i].deletions++
		}
		if step == 'x' {
			b.void(func(bookedToken) bool { return true })
		}
	case 'i', 's', 'm', 'S', 'u':
		scope, mode := Scope{}, ModeHard
		if step == 'i' || step == 's' {
			scope.Operation = b.entry.Operation
		}
		if step == 's' || step == 'S' {
			mode = ModeSoft
		}
		if step == 'u' {
			scope.User = "u" // the entry's, or not
		}
		_, err := b.r.Invalidate(ctx, users, scope, mode, "")
		b.must(t, err)
		b.void(func(bookedToken) bool { return step != 'u' || b.entry.User != "" })
	case 'e': // the log of deletions is evicted
		b.must(t, b.client.Del(ctx, keyOf(users)+":d:"+b.entry.Operation).Err())
		b.void(func(token bookedToken) bool { return token.deletions > 0 })
	}
}

func (b *tokenBook) must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (b *tokenBook) void(which func(bookedToken) bool) {
	for i := range b.tokens {
		b.tokens[i].valid = b.tokens[i].valid && !which(b.tokens[i])
	}
}

// isValid compares without the mark, which says only whether the load lock goes with the token.
func (b *tokenBook) isValid(token Token) bool {
	return token[0] <= '2' && token[0] >= '1' && slices.ContainsFunc(b.tokens, func(known bookedToken) bool {
		return known.valid && known.Token[1:] == token[1:]
	})
}

// forge makes another token of one in the book: the first byte of how says in which way.
func (b *tokenBook) forge(base int, how []byte) Token {
	token := Token("1")
	if len(b.tokens) > 0 {
		token = b.tokens[base%len(b.tokens)].Token
	}
	if len(how) == 0 {
		return token
	}
	at := 0
	if len(how) > 1 {
		at = int(how[1]) % len(token)
	}
	switch how[0] {
	case 'r': // another one altogether
		return Token(how[1:])
	case 't': // truncated
		return token[:at]
	case 'x': // a byte changed
		changed := []byte(token)
		if len(how) > 2 {
			changed[at] ^= how[2]
		}
		return Token(changed)
	case 'a': // something appended
		return token + Token(how[1:])
	case 'i': // something inserted
		return token[:at] + Token(how[1:]) + token[at:]
	case 'p': // the beginning of one, the end of another
		if len(how) > 2 {
			other := b.tokens[int(how[2])%max(1, len(b.tokens)):]
			if len(other) > 0 && len(other[0].Token) > at {
				return token[:at] + other[0].Token[at:]
			}
		}
	}
	return token
}

// A policy document is refused by name, or it is in force and Go reads the same in it.
func FuzzPolicyDocument(f *testing.F) {
	for _, v := range loadVectors(f).Refusals {
		if v.Call == "cw_policy_apply" && len(v.Args) == 1 {
			f.Add([]byte(v.Args[0]))
		}
	}
	for _, document := range []string{
		`{}`, ` {"defaultTtlMs": 60000} `, `{"revision":"42","defaultTtlMs":300000,"operations":[{"name":"list","ttlMs":180000,` +
			`"staleForMs":30000,"negativeTtlMs":5000,"jitterPercent":10,"scope":"User","maxEntryBytes":65536}]}`,
		`{"operations":[]}`, `{"operations":{}}`, `{"revision":""}`, `{"defaultTtlMs":6e4}`, `{"defaultTtlMs":60000.0}`,
		`{"defaultTtlMs":0x10}`, `{"defaultTtlMs":nan}`, `{"defaultTtlMs":inf}`, `{"defaultTtlMs":-0}`, `{"defaultTtlMs":007}`, `{"defaultTtlMs":+7}`,
		`{"revision":"\u0000\ud83d\ude00"}`, `{"revision":"\ud800"}`, "{\"revision\":\"\xff\"}", "{\"revision\":\"\n\"}", `{"revision":"\'"}`,
		`{"defaultTtlMs":1,"defaultTtlMs":2}`, `{"operations":[{"name":"a","ttlMs":"0","ttlMs":0}]}`, `{"DefaultTtlMs":1}`, `{"operations":[{"name":"a","ttlMs":1,"Scope":"User"}]}`,
		`{"operations":[{"name":"a","ttlMs":1,"jitterPercent":5}],"operations":[{"name":"b","ttlMs":2}]}`,
		`{"operations":[{"name":"é","ttlMs":1},{"name":"\u00e9 ","ttlMs":2}]}`, `{"defaultTtlMs":1} `, `{"defaultTtlMs":1}x`, `{"defaultTtlMs":1,}`,
	} {
		f.Add([]byte(document))
	}
	r, client := fuzzRegistry(f)
	f.Fuzz(func(t *testing.T, document []byte) {
		client.FlushDB(t.Context())
		_, err := r.library.Call(t.Context(), "cw_policy_apply", users, document)
		if err != nil {
			if !errors.Is(err, ErrRejected) || !strings.Contains(err.Error(), "CACHEWRIGHT cw_policy_apply") {
				t.Fatalf("%q: %v", document, err)
			}
			if keys := keysOf(t, client, users); len(keys) > 0 {
				t.Fatalf("%q was refused and left %q", document, keys)
			}
			return
		}
		if text, err := r.library.Call(t.Context(), "cw_policy_get", users); err != nil || text != string(document) {
			t.Fatalf("%q came back as %q (%v)", document, text, err)
		}
		policy, found, err := r.Policy(t.Context(), users)
		if err != nil || !found {
			t.Fatalf("%q: found %v, %v", document, found, err)
		}
		if !utf8.Valid(document) {
			return // Go has no words for names that are not UTF-8
		}
		stats, err := r.Stats(t.Context(), users)
		if err != nil {
			t.Fatal(err)
		}
		if len(stats.Operations) != len(policy.Operations) {
			t.Fatalf("%q: the library goes by %+v, Go by %+v", document, stats.Operations, policy.Operations)
		}
		for name, operation := range stats.Operations {
			if policy.TTL(name) != operation.TTL {
				t.Fatalf("%q: a TTL of %q of %v in the library, of %v in Go", document, name, operation.TTL, policy.TTL(name))
			}
		}
		if _, err := r.ApplyPolicy(t.Context(), users, policy); err != nil {
			t.Fatalf("%q was applied, and not what Go read in it: %v", document, err)
		}
		if again, _, err := r.Policy(t.Context(), users); err != nil || !reflect.DeepEqual(again, policy) {
			t.Fatalf("%q: %+v came back as %+v (%v)", document, policy, again, err)
		}
	})
}

// fuzzRegistry returns a Registry on a Redis of its own, with the library loaded, for all rounds of
// a fuzzer.
func fuzzRegistry(f *testing.F) (*Registry, *redis.Client) {
	f.Helper()
	client := redistest.Start(f).Client()
	r := New(client)
	if _, err := r.Install(f.Context()); err != nil {
		f.Fatal(err)
	}
	return r, client
}
