// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package garbage

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// What a tenant may come up with: each kind of key of a slot, and bytes that are like those that
// the library writes.
var (
	keys = []string{
		"$slot:m", "$slot:o:list", "$slot:o:other", "$slot:u:u", "$entry", "$mine", "$slot:l:4:list:0::locked", "$slot:policy", "$slot:counters",
		"$index", "$chunk", "$index:$slice:1", "$index:0:0", "$slot:iu:u", "$slot:iu:v", "$aside", "$slot:pending", "$slot:d:list", "$slot:r:r1",
		"$slot:r:r2", "$slot:h", "$slot:owner", "$slot:i:short", "$slot:a:mine", "$slot", unclaimedKey,
	}
	numbers = []string{
		"0", "1", "-1", "007", "63", "511", "65535", "65536", "0x10", "1e308", "nan", "inf", "1.5", "9007199254740990", "9007199254740993",
		"9223372036854775807", "18446744073709551616", "-9223372036854775808", "99999999999999999999999",
	}
	texts = []string{
		"", "x", "$x11", "$x22", "$x33", "$x44", "$epoch", "$epoch$x11", "$epoch$epoch$epoch", "$module", "$module$x11", "$x100000", "$x1000000",
		"0::a", "1:u:b", "4:list0::a", "4:list1:u:b", "4:list1:u:c", "7:profile1:u:c", "99:list", "4:list99:u:x", "-1:x", ":", "0:", "4294967296:list",
		"600000 0 0 0 Any 67108864", "600000 0 0 0 User 1", "0 0 0 0 Any 1", "600000 0 0 0 Any 67108864 600000", "600000 600000", "1 1 0123456789abcdef", "cluster/shop/policy", "1 1 1800000000000",
		"o:1:1:$epoch:list", "o:9:9:$x11:list", "u:1:1:$epoch", "u:1:1:mine", "t:1:1:$epoch:10:list", "t:1:1:$epoch:-1:list", "s:1:1:$epoch:$slice:0:3:list",
		"s:2:1:$epoch:$slice:0:65535:list", "s:2:1:$epoch:1:99:3:list", "1$module$epoch$x11", "2$module$epoch$x11",
		"\x01\x00\x00\x00\x01\xff\xff\xff\xff\xff\x00\x0d\x11\x57\x00\x00\xff\xff", "\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
		"\x01\xff\x00", "\x02\x00",
		"!!", "!!$x9", "!!$x24", "!!$x48", "!!$x1536", "!!$x1560", "!!$x100000", "!!0123456789abcdef\x00\x00\x01\xff\xff\xff\xff\xff",
		"!!\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff",
	}
	fields = []string{
		"$slice", "0", "63", "64", "lag", "o:list", "o:other", "o:", "default", "json", "hash", "seal", "revision", "misses:list", "hits:list", "misses:other",
		"fills:invented", "unlisted", "since", "invalidations:", "misses:", "x:y", "", "user", "users/lst",
	}
	functions = map[string]int{
		"cw_get": 3, "cw_set": 5, "cw_unlock": 3, "cw_delete": 3, "cw_invalidate": 4, "cw_reclaim": 1, "cw_policy_apply": 1, "cw_policy_hash": 0,
		"cw_policy_get": 0, "cw_policy_own": 1, "cw_policy_delete": 0, "cw_report": 3, "cw_stats": 0, "cw_version": 0,
		"cw_hold": 6, "cw_release": 5, "cw_unclaimed": 4, "cw_fence": 1, "cw_put": 5,
	}
	arguments = []string{
		"list", "other", "profile", "u", "v", "a", "b", "c", "", "hard", "soft", "dry", "r1", "r2", "x", "room", "negative", "hits", "errors", "5", "200", "60000",
		"{}", policyBefore, policyAfter, `{"operations":[{"name":"list","ttlMs":1000}]}`, "1$module$epoch$x11", "2$module$epoch$x11", "$x65536",
		"0123456789abcdef", "s", "e", "check", "ttl 5", "negative ttl 60000", "schema",
	}
)

func pick(t *rapid.T, from []string) string { return rapid.SampledFrom(from).Draw(t, "word") }

// value is a text, a number, some numbers, or any bytes.
func value(t *rapid.T) string {
	switch rapid.IntRange(0, 5).Draw(t, "kind of value") {
	case 0:
		return pick(t, numbers)
	case 1:
		return pick(t, numbers) + " " + pick(t, numbers)
	case 2:
		return string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes"))
	default:
		return pick(t, texts)
	}
}

func field(t *rapid.T) string {
	if rapid.IntRange(0, 3).Draw(t, "kind of field") == 0 {
		return value(t)
	}
	return pick(t, fields)
}

// line is one command of a tenant. What shortens best comes first.
func line(t *rapid.T) string {
	k := pick(t, keys)
	switch rapid.IntRange(0, 15).Draw(t, "command") {
	case 0:
		return quoted("UNLINK", k)
	case 1, 2:
		return quoted("SET", k, value(t))
	case 3:
		return quoted("SETRANGE", k, pick(t, []string{"0", "1", "2", "10", "16", "18", "29", "40", "1000000"}), value(t))
	case 4:
		return quoted("APPEND", k, value(t))
	case 5, 6:
		return quoted("HSET", k, field(t), value(t))
	case 7:
		return quoted("RPUSH", k, value(t), value(t))
	case 8:
		return quoted("LSET", k, pick(t, []string{"0", "-1"}), value(t))
	case 9, 10:
		return quoted("ZADD", k, pick(t, numbers), value(t))
	case 11:
		return quoted("RENAME", k, pick(t, keys))
	case 12:
		return quoted("PEXPIRE", k, pick(t, []string{"1", "1000", "99999999999"}))
	case 13:
		return many(t, k)
	default:
		return call(t)
	}
}

func many(t *rapid.T, k string) string {
	command := []string{"MANY", pick(t, []string{"300", "1000", "3000", "20000"})}
	switch rapid.IntRange(0, 2).Draw(t, "collection") {
	case 0:
		command = append(command, "RPUSH", k, value(t)+"$n")
	case 1:
		command = append(command, "HSET", k, field(t)+"$n", value(t))
	default:
		command = append(command, "ZADD", k, "$n", value(t)+"$n")
	}
	return quoted("UNLINK", k) + "\n" + quoted(command...)
}

func call(t *rapid.T) string {
	names := []string{
		"cw_get", "cw_set", "cw_unlock", "cw_delete", "cw_invalidate", "cw_reclaim", "cw_policy_apply", "cw_policy_hash", "cw_policy_get", "cw_policy_own",
		"cw_policy_delete", "cw_report", "cw_stats", "cw_unclaimed", "cw_fence", "cw_put",
	}
	name := pick(t, names)
	command := []string{"FCALL", name, "1", "$slot"}
	if name == "cw_unclaimed" {
		command[3] = unclaimedKey
	}
	for range max(0, functions[name]+rapid.SampledFrom([]int{0, 0, 0, 1, -1}).Draw(t, "more")) {
		if rapid.IntRange(0, 4).Draw(t, "kind of argument") == 0 {
			command = append(command, value(t))
		} else {
			command = append(command, pick(t, arguments))
		}
	}
	return quoted(command...)
}

func quoted(all ...string) string {
	for i := range all {
		all[i] = strconv.Quote(all[i])
	}
	return strings.Join(all, " ")
}

func scripts() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.Custom(line), 0, 25).Draw(t, "lines"), "\n")
	})
}

// The same as FuzzSlot, with what a tenant would write who knows the library.
func TestWhateverATenantWritesCallsEndAndPurgesTakeEffect(t *testing.T) {
	w := newWorld(t, library(t))
	rapid.Check(t, func(rt *rapid.T) {
		script, scope := scripts().Draw(rt, "script"), rapid.IntRange(0, purgeFirst+len(scopes)-1).Draw(rt, "scope")
		if err := w.try(t.Context(), script, scope); err != nil {
			rt.Log(fmt.Sprintf("%d:\n%.4000s\n%v", scope, script, err))
			rt.Fatal("a promise is broken") // the same words, so that shorter scripts count as the same failure
		}
	})
	t.Logf("the slowest call took %s of the processor: %s", w.slowest, w.what)
}
