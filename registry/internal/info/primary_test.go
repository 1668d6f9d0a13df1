// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package info

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestInfoIsReadWhateverItHolds(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":                         "",
		"no section":                      "redis_version:7.2.0\r\nrun_id:abc\r\n",
		"replicas without an end":         "connected_slaves:1000000000000\r\n",
		"replicas that are named thrice":  "connected_slaves:3\r\nslave0:ip=a,port=1\r\nslave0:ip=b,port=1\r\nslave00:ip=c,port=1\r\n",
		"replicas below zero":             "connected_slaves:-1\r\nslave-1:ip=a\r\n",
		"figures that are none":           "used_memory:x\r\nuptime_in_seconds:9223372036854775807\r\nmaxmemory:-1\r\nslave0:lag=9223372036854775807,offset=-9223372036854775808\r\nconnected_slaves:1\r\nmaster_repl_offset:9223372036854775807\r\n",
		"control bytes":                   "redis_version:7\x1b[2J\x00\r\nredis_mode:\xff\xfe\r\n",
		"a version without an end":        "redis_version:" + strings.Repeat("7", 1<<20),
		"a line without an end or a name": strings.Repeat("a", 1<<21),
	} {
		t.Run(name, func(t *testing.T) {
			p := ParsePrimary("redis:6379", text)
			if len(p.Version) > maxVersion+3 || len(p.Replicas) > MaxReplicas || p.Uptime < 0 || p.MaxMemory < 0 || p.UsedMemory < 0 {
				t.Errorf("%+v", p)
			}
			for _, shown := range []string{p.Version, p.Mode, p.EvictionPolicy, p.RunID} {
				if strings.ContainsAny(shown, "\x1b\x00") || !utf8.ValidString(shown) {
					t.Errorf("%q is shown", shown)
				}
			}
			for _, replica := range p.Replicas {
				if replica.Lag < 0 || replica.Lag > 101*365*24*time.Hour || replica.Behind < 0 {
					t.Errorf("%+v", replica)
				}
			}
		})
	}
	lines := "connected_slaves:2000\r\n"
	for i := range 2000 {
		lines += fmt.Sprintf("slave%d:ip=10.0.0.1,port=%d,state=online,offset=1,lag=0\r\n", i, i)
	}
	if p := ParsePrimary("redis:6379", lines); len(p.Replicas) != MaxReplicas {
		t.Errorf("%d replicas", len(p.Replicas))
	}
}

func TestTextsOfInfoFitTheFieldsThatShowThem(t *testing.T) {
	long := strings.Repeat("x", 2*256)
	said := "redis_version:" + long + "\r\nredis_mode:" + long + "\r\nmaxmemory_policy:" + long + "\r\n"
	primary := ParsePrimary("127.0.0.1:6379", said)
	for what, field := range map[string]struct {
		text  string
		limit int
	}{
		"version":         {primary.Version, maxVersion},
		"mode":            {primary.Mode, maxMode},
		"eviction policy": {primary.EvictionPolicy, maxEvictionPolicy},
	} {
		if len(field.text) > field.limit {
			t.Errorf("the %s takes %d bytes, more than %d", what, len(field.text), field.limit)
		}
	}
}

func TestVersionsCompareByNumber(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{{"6.2.14", "7.0.0", true}, {"7.0.15", "7.0.9", false}, {"10.0.0", "7.2.4", false}, {"7.2.4", "7.2.4", false}} {
		if got := OlderThan(test.a, test.b); got != test.want {
			t.Errorf("%s older than %s: got %v", test.a, test.b, got)
		}
	}
}
