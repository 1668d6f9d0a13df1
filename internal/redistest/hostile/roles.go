// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package hostile

import (
	"fmt"
	"net"
)

// SentinelMaster is the name under which a Server that is a Sentinel watches itself.
const SentinelMaster = "main"

// ownAnswer returns the answer to a call about the server itself, as its role requires. Such calls
// are not forwarded.
func (h *Server) ownAnswer(call string) (reply string, own bool) {
	host, port, _ := net.SplitHostPort(h.Addr())
	switch {
	case h.role == WithoutHello && call == "HELLO":
		return "-ERR unknown command `HELLO`, with args beginning with: `3`\r\n", true
	case h.role == ClusterNode && call == "CLUSTER SLOTS":
		return slotsReply(0, clusterSlots-1, host, port), true
	case h.role == Sentinel && call == "SENTINEL GET-MASTER-ADDR-BY-NAME":
		return arrayOf(bulk(host), bulk(port)), true
	case h.role == Sentinel && (call == "SENTINEL SENTINELS" || call == "SENTINEL REPLICAS"):
		return "*0\r\n", true
	default:
		return "", false
	}
}

// slotsReply returns the reply to CLUSTER SLOTS of one node.
func slotsReply(first, last int, host, port string) string {
	return arrayOf(shardOf(first, last, host, port))
}

func shardOf(first, last int, host, port string) string {
	return arrayOf(integer(first), integer(last), arrayOf(bulk(host), ":"+port+"\r\n",
		bulk("0123456789abcdef")))
}

func bulk(text string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text) }

func integer(n int) string { return fmt.Sprintf(":%d\r\n", n) }

func arrayOf(elements ...string) string {
	reply := fmt.Sprintf("*%d\r\n", len(elements))
	for _, element := range elements {
		reply += element
	}
	return reply
}
