// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"strings"
)

// replySeed is a reply that was, or may be, trouble to some calls. Those that fuzzing found are in
// testdata/fuzz.
type replySeed struct {
	calls []string
	reply string
}

var (
	ofInfo    = []string{"Check", "Fences", "MarkFenced", "Fence", "Install"}
	ofNumbers = []string{"Invalidate", "InvalidateMany", "Reclaim", "ApplyPolicy", "Set", "Fence", "Fill", "Put"}
	ofFences  = []string{"CheckFence", "EnsureFenced"}
	ofLists   = []string{"Modules", "Stats", "StatsOf", "PolicyHashes", "Read", "ReadLocked"}
	ofAny     = []string{"Check", "Modules", "Stats", "Invalidate", "InvalidateMany", "Lease", "Policy", "Read", "EnsureListed", "LastHeartbeat"}
)

var replySeeds = []replySeed{
	{ofInfo, text("redis_version:7.2.0\r\nrun_id:x\r\n")},
	{ofInfo, text("# Server\r\nredis_version:7.2.0\r\nrun_id:a\r\n# Replication\r\nrole:master\r\nmaster_replid:b\r\n") + ":3\r\n" + "$-1\r\n"},
	{ofInfo, text("# Server\r\nredis_version:7.2.0\r\n# Replication\r\nrole:master\r\nconnected_slaves:1000000000000\r\n") + ":3\r\n"},
	{ofInfo, text("# Server\r\nredis_version:7.\x1b[31m\xff\r\nredis_mode:\x00\r\nuptime_in_seconds:-9\r\n# Memory\r\nused_memory:-5\r\nmaxmemory:-9\r\n") + ":-3\r\n"},
	{ofInfo, text("# Server\r\nredis_version:7.2.0\r\nrun_id:a\r\n# Replication\r\nconnected_slaves:2\r\nslave0:ip=\x1b,port=x,offset=-9,lag=99999999999999\r\n") + ":3\r\n"},
	{ofInfo, "-ERR unknown command 'INFO'\r\n-ERR Function not found\r\n"},
	{ofNumbers, "*2\r\n:-5\r\n:-7\r\n*2\r\n:-1\r\n:-9223372036854775808\r\n"},
	{ofNumbers, "*2\r\n:9223372036854775807\r\n:9223372036854775807\r\n:1\r\n"},
	{ofNumbers, ":-9223372036854775808\r\n:9223372036854775807\r\n"},
	{ofFences, "*2\r\n$3\r\na/b\r\n:2\r\n"},
	{ofFences, "*2\r\n$3\r\na\n/\r\n:1\r\n"},
	{ofFences, "*2\r\n:1\r\n$3\r\na/b\r\n"},
	{ofFences, "-CACHEWRIGHT NOPERM cw_fence needs INFO\r\n"},
	{ofLists, "*2000000\r\n$1\r\na\r\n"},
	{ofLists, "*4\r\n$9\r\nhits:list\r\n:-1\r\n$4\r\nkeys\r\n:-9223372036854775808\r\n"},
	{ofLists, "*4\r\n*0\r\n:1\r\n$-1\r\n*-1\r\n"},
	{ofAny, "$9223372036854775805\r\n"},
	{ofAny, "$42949672960\r\n"},
	{ofAny, "$-5\r\n"},
	{ofAny, "$?\r\n;4\r\n"},
	{ofAny, "*2000000000\r\n"},
	{ofAny, "*9223372036854775807\r\n"},
	{ofAny, "%4611686018427387905\r\n"},
	{ofAny, "~2000000000\r\n"},
	{ofAny, ">2000000000\r\n"},
	{ofAny, "|1\r\n+a\r\n+b\r\n:1\r\n"},
	{ofAny, ">1\r\n$7\r\nmessage\r\n:1\r\n"},
	{ofAny, strings.Repeat("*1\r\n", 1000)},
	{ofAny, "=1\r\nx\r\n"},
	{ofAny, "!3\r\nERR\r\n"},
	{ofAny, ",nan\r\n"},
	{ofAny, "#x\r\n"},
	{ofAny, "(99999999999999999999999\r\n"},
	{ofAny, "?5\r\nhello\r\n"},
	{ofAny, "\r\n"},
	{ofAny, "*\r\n"},
	{ofAny, "-\r\n"},
	{ofAny, "HTTP/1.1 400 Bad Request token=canary\r\n\r\n"},
	{ofAny, "-ERR \x1b[31m\x00\xff\r\n"},
	{ofAny, "+" + strings.Repeat("x", 1<<15)},
	{ofAny, "-MOVED 1 :0\r\n"},
	{ofAny, "-ASK\r\n"},
	{ofAny, "*3\r\n:0\r\n$1\r\nt\r\n:9223372036854775807\r\n"},
	{ofAny, text(`{"defaultTtlMs":9223372036854775807,"operations":[{"name":"\u0000","ttlMs":-1}]}`)},
}

func text(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// topologySeeds are answers to CLUSTER SLOTS.
func topologySeeds() []string {
	shard := func(first, last int, host string, port int) string {
		return fmt.Sprintf("*3\r\n:%d\r\n:%d\r\n*3\r\n%s:%d\r\n$2\r\nid\r\n", first, last, host, port)
	}
	var many strings.Builder
	many.WriteString("*4000\r\n")
	for i := range 4000 {
		many.WriteString(shard(i, i, text(fmt.Sprint("node-", i)), 1))
	}
	info := text("# Server\r\nredis_version:7.2.0\r\n") + ":1\r\n"
	return []string{
		"*1\r\n" + shard(0, 16383, text("node"), 1) + info,
		"*1\r\n" + shard(0, 16383, "$-1\r\n", 1) + info,
		"*1\r\n" + shard(0, 16383, text(""), 99999999) + info,
		"*1\r\n" + shard(-5, 1<<40, text("node"), -1) + info,
		"*1\r\n*2\r\n:0\r\n:16383\r\n", "*1\r\n*1\r\n:0\r\n", "*0\r\n" + info, "*1\r\n*3\r\n:0\r\n:16383\r\n*0\r\n",
		"*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$4\r\nnode\r\n:1\r\n$2\r\nid\r\n*3\r\n:1\r\n:2\r\n:3\r\n",
		many.String(),
	}
}
