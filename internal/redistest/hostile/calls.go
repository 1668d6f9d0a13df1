// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package hostile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cachewright/cachewright/internal/testserver"
)

// waysOfSome are answers that only some calls can have. Their form is right, but something in them
// is odd.
func waysOfSome() []Way {
	return slices.Concat(waysOfInfo(), waysOfCluster(), waysOfSentinel(), waysOfSubscription(),
		waysOfFunctions())
}

const (
	// clusterSlots is how many slots a cluster has.
	clusterSlots = 16384
	loopback     = testserver.Loopback
)

// info is a reply to INFO with all fields that clients need.
const info = "# Server\r\nredis_version:7.2.0\r\nredis_mode:standalone\r\n" +
	"run_id:0123456789012345678901234567890123456789\r\n" +
	"uptime_in_seconds:1000\r\n# " +
	"Replication\r\nrole:master\r\nmaster_replid:9876543210987654321098765432109876543210\r\n" +
	"master_replid2:0000000000000000000000000000000000000000\r\n"

func waysOfInfo() []Way {
	of := func(name, text string) Way { return whole(name, bulk(text), "INFO") }
	lines := strings.Repeat("x:"+strings.Repeat("y", 1<<14)+"\r\n", 4)
	return []Way{
		of("first line of no section", "redis_version:7.2.0\r\n"+info),
		of("no section at all", strings.ReplaceAll(info, "# ", "")),
		of("lines without a colon", "# Server\r\nredis_version\r\n:\r\n::\r\n#\r\n# \r\n"+info),
		of("10^12 replicas", info+"connected_slaves:1000000000000\r\n"),
		of("-1 replicas", info+"connected_slaves:-1\r\n"),
		of("100,000 replicas", info+"connected_slaves:100000\r\n"+strings.Repeat(
			"slave1:ip=1.2.3.4,port=1,state=online,offset=1,lag=1\r\n", 10_000)),
		of("odd replicas",
			info+"connected_slaves:3\r\nslave0:\r\nslave1:ip="+odd+",port=x,state=online,"+
				"offset=-9,lag=99999999999999\r\nslave2:=,=,=\r\n"),
		of("no identity",
			"# Server\r\nredis_version:7.2.0\r\nredis_mode:standalone\r\n# Replication\r\nrole:master\r\n"),
		of("identity of odd bytes", strings.ReplaceAll(info, "0123456789", odd)),
		of("long identity", strings.ReplaceAll(info, "0123456789", strings.Repeat("f", 1<<18))),
		of("version of odd bytes", strings.ReplaceAll(info, "7.2.0", "7."+odd)),
		of("long version", strings.ReplaceAll(info, "7.2.0", "7"+strings.Repeat(".7", 1<<18))),
		of("no version", strings.ReplaceAll(info, "redis_version:7.2.0", "redis_version:")),
		of("mode of odd bytes", strings.ReplaceAll(info, "standalone", odd)),
		of("role of odd bytes", strings.ReplaceAll(info, "master\r", odd+"\r")),
		of("eviction policy of odd bytes",
			info+"# Memory\r\nmaxmemory:-5\r\nused_memory:9223372036854775807\r\n"+
				"mem_not_counted_for_evict:-9\r\nmaxmemory_policy:"+odd+"\r\n"),
		of("largest figures",
			info+"# Memory\r\nmaxmemory:9223372036854775807\r\nused_memory:-9223372036854775807\r\n# "+
				"Stats\r\nevicted_keys:-1\r\n"),
		of("modules of many fields",
			info+"# Modules\r\n"+strings.Repeat(
				"module:name=x,ver=1,api=1,filters=0,usedby=[],using=[],options=[]\r\n",
				1000)+"module:\r\nmodule:,\r\nmodule:=\r\n"),
		streamed("1 GiB of lines", "$1073741824\r\n"+info, lines, endless, "INFO"),
	}
}

func waysOfCluster() []Way {
	of := func(name, reply string) Way { return whole(name, reply, "CLUSTER SLOTS") }
	var nodes, names strings.Builder
	fmt.Fprintf(&nodes, "*%d\r\n", clusterSlots)
	fmt.Fprintf(&names, "*%d\r\n", clusterSlots)
	for slot := range clusterSlots {
		nodes.WriteString(shardOf(slot, slot, loopback, fmt.Sprint(1+slot%1000)))
		names.WriteString(shardOf(slot, slot, fmt.Sprintf("node-%d.invalid", slot), "6379"))
	}
	return []Way{
		of("16,384 nodes", nodes.String()),
		of("16,384 hosts", names.String()),
		of("null host", arrayOf(arrayOf(integer(0), integer(clusterSlots-1),
			arrayOf("$-1\r\n", ":7000\r\n", bulk("id"))))),
		of("empty host", slotsReply(0, clusterSlots-1, "", "7000")),
		of("host of odd bytes", slotsReply(0, clusterSlots-1, odd, "7000")),
		of("long host", slotsReply(0, clusterSlots-1, strings.Repeat("h", 1<<20), "7000")),
		of("no port", slotsReply(0, clusterSlots-1, loopback, "-1")),
		of("port that is none", slotsReply(0, clusterSlots-1, loopback, "99999999")),
		of("no slots", "*0\r\n"),
		of("slots that are none", slotsReply(-5, 1<<40, loopback, "7000")),
		of("slots in reverse", slotsReply(clusterSlots, 0, loopback, "7000")),
		of("shard without nodes", arrayOf(arrayOf(integer(0), integer(clusterSlots-1)))),
		of("shard of too few fields", arrayOf(arrayOf(integer(0)))),
		of("node of no fields", arrayOf(arrayOf(integer(0), integer(clusterSlots-1), "*0\r\n"))),
		of("node of 100,000 fields", arrayOf(arrayOf(integer(0), integer(clusterSlots-1),
			"*100000\r\n"+strings.Repeat(":1\r\n", 100_000)))),
		of("node whose metadata is odd", arrayOf(arrayOf(integer(0), integer(clusterSlots-1),
			"*4\r\n"+bulk(loopback)+":7000\r\n"+bulk("id")+"*3\r\n:1\r\n:2\r\n:3\r\n"))),
		of("metadata address", arrayOf(arrayOf(integer(0), integer(clusterSlots-1),
			"*4\r\n"+bulk(loopback)+":7000\r\n"+bulk("id")+"*2\r\n"+bulk("ip")+bulk("169.254.169.254")))),
		of("one shard a thousand times", "*1000\r\n"+strings.Repeat(shardOf(0, clusterSlots-1, loopback,
			"1"), 1000)),
	}
}

func waysOfSentinel() []Way {
	const primary, others = "SENTINEL GET-MASTER-ADDR-BY-NAME", "SENTINEL SENTINELS"
	return []Way{
		whole("address of one word", arrayOf(bulk("127.0.0.1")), primary),
		whole("address of three words", arrayOf(bulk("127.0.0.1"), bulk("1"), bulk("2")), primary),
		whole("address of odd bytes", arrayOf(bulk(odd), bulk("x")), primary),
		whole("long address", arrayOf(bulk(strings.Repeat("h", 1<<20)), bulk("1")), primary),
		whole("metadata address", arrayOf(bulk("169.254.169.254"), bulk("80")), primary),
		whole("port that is none", arrayOf(bulk("127.0.0.1"), bulk("-1")), primary),
		whole("sentinel of no fields", "*1\r\n*0\r\n", others),
		whole("sentinel of an odd number of fields", "*1\r\n*3\r\n+ip\r\n+x\r\n+port\r\n", others),
		whole("sentinel without a port", arrayOf(arrayOf(bulk("ip"), bulk("127.0.0.1"))), others),
		streamed("100,000 sentinels", "*100000\r\n", arrayOf(bulk("ip"), bulk("127.0.0.1"), bulk("port"),
			bulk("1")), 100_000, others),
	}
}

func waysOfSubscription() []Way {
	message := func(words ...string) string {
		return arrayOf(bulk("message"), bulk("+switch-master"), bulk(strings.Join(words, " ")))
	}
	then := func(name, piece string, times int) Way {
		return Way{Name: name, Calls: []string{"SUBSCRIBE"}, answer: func(e *exchange) error {
			if err := e.repeat(1); err != nil {
				return err
			}
			return e.stream("", piece, times)
		}}
	}
	return []Way{
		then("switch-master of two words", message("main", "127.0.0.1"), 1),
		then("switch-master of no words", message(""), 1),
		then("switch-master of one word", message("main"), 1),
		then("switch-master to odd bytes", message("main", "127.0.0.1", "1", odd, "x"), 1),
		then("10,000 switches", message("main", "127.0.0.1", "1", "127.0.0.1", "2"), 10_000),
		then("sentinel of two words", arrayOf(bulk("message"), bulk("+sentinel"), bulk("sentinel x")), 1),
		then("message of nils", "*3\r\n$7\r\nmessage\r\n$-1\r\n*-1\r\n", 1),
		then("message of too few parts", "*1\r\n$7\r\nmessage\r\n", 1),
		then("message of arrays", "*3\r\n$7\r\nmessage\r\n*0\r\n*0\r\n", 1),
		then("messages of empty arrays", "*0\r\n", 10),
		then("invalidation of nothing", arrayOf(bulk("message"), bulk("__redis__:invalidate"), "*-1\r\n"),
			1),
		then("invalidation of odd keys", arrayOf(bulk("message"), bulk("__redis__:invalidate"),
			arrayOf(bulk(""), bulk("}"), bulk("cw:{"))), 1),
		then("endless messages", message("main", "127.0.0.1", "1", "127.0.0.1", "2"), endless),
	}
}

func waysOfFunctions() []Way {
	figure := func(name string) string { return bulk("hits:"+name) + ":1\r\n" }
	const stats, invalidate, policy, get = "cw_stats", "cw_invalidate", "cw_policy_get", "cw_get"
	return []Way{
		functionWay(streamed("10^6 operations", "*2000000\r\n", figure("operation"), million), stats),
		functionWay(manyOperations(), stats),
		functionWay(whole("figures of odd names", "*4\r\n"+figure(odd)+figure(strings.Repeat("n",
			1<<18))), stats),
		functionWay(whole("negative figures",
			"*4\r\n"+bulk("keys")+":-5\r\n"+bulk("memory")+":-9223372036854775808\r\n"), stats),
		functionWay(whole("figures of other types", "*4\r\n:1\r\n*0\r\n*0\r\n%0\r\n"), stats),
		functionWay(whole("negative counts", "*2\r\n:-5\r\n:-9223372036854775808\r\n"), invalidate),
		functionWay(whole("policy that nests", bulk(strings.Repeat("[", 1<<20))), policy),
		functionWay(whole("policy of odd names",
			bulk(`{"operations":[{"name":"`+odd+`\u0000","ttlMs":-5}]}`)), policy),
		functionWay(whole("policy that overflows", bulk(`{"defaultTtlMs":9223372036854775807}`)), policy),
		functionWay(whole("longest wait", "*3\r\n:0\r\n$2\r\nxx\r\n:9223372036854775807\r\n"), get),
		functionWay(whole("longest life", "*4\r\n:1\r\n$2\r\n{}\r\n:9223372036854775807\r\n:1\r\n"), get),
		functionWay(whole("long token", "*2\r\n:0\r\n"+bulk(strings.Repeat("t", 1<<20))), get),
	}
}

// functionWay applies a way to both commands that call a function.
func functionWay(way Way, function string) Way {
	way.Calls = []string{"FCALL " + function, "FCALL_RO " + function}
	return way
}

// manyOperations returns figures of a million different operations.
func manyOperations() Way {
	return Way{Name: "10^6 operations of different names", answer: func(e *exchange) error {
		if err := e.stream("*2000000\r\n", "", 0); err != nil {
			return err
		}
		for batch := range 1000 {
			var piece strings.Builder
			for i := range 1000 {
				piece.WriteString(bulk(fmt.Sprintf("hits:%d", batch*1000+i)) + ":1\r\n")
			}
			if err := e.write([]byte(piece.String())); err != nil {
				return err
			}
		}
		return nil
	}}
}
