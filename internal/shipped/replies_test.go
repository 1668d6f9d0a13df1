// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package shipped

import (
	"go/ast"
	"go/types"
	"strings"
	"testing"
)

const goRedis = "github.com/redis/go-redis/v9"

// asks says whether a function of go-redis may have a server asked: it makes a client, or takes the
// context of a call. All others configure, close, or return what was read.
func asks(function *types.Func) bool {
	if function.Signature().Recv() == nil && strings.HasPrefix(function.Name(), "New") {
		return true
	}
	for parameter := range function.Signature().Params().Variables() {
		if parameter.Type().String() == "context.Context" {
			return true
		}
	}
	return false
}

const (
	scalar   = "one reply of a bounded size: a status, a number or a string; anything else is an error of the call"
	list     = "as many elements as the guard allows, each a string; anything else is an error of the call"
	anyForm  = "any reply that the guard allows, in plain Go values; ours looks at each with its bounds"
	together = "each reply of a pipeline is decoded by its own command, which is listed here"
	client   = "its connections have the guard below them (registry.Connection and ClientFromEnv by their dialer, cache.New by a dial hook)"
)

// decoded are the functions of go-redis that read what a server sent. Each has a value that says
// what keeps a server from harm there.
var decoded = map[string]string{
	"ClientID": scalar, "Del": scalar, "Exists": scalar, "FunctionLoadReplace": scalar, "Get": scalar, "GetEx": scalar, "GetRange": scalar, "PExpire": scalar,
	"Ping": scalar, "SAdd": scalar, "SIsMember": scalar, "SRem": scalar, "Set": scalar,
	"Info": scalar + ". Not InfoMap: that one panics over a line before the first section",
	"MGet": list, "NewStringSliceCmd": list, "SMembers": list,
	"Do": anyForm, "FCall": anyForm, "FCallRO": anyForm, "NewCmd": anyForm,
	"Pipelined": together, "TxPipelined": together, "Watch": together, "Process": together, "Submit": together, "WaitContext": together,
	"NewClient": client, "NewClusterClient": client,
	"ForEachMaster":  "CLUSTER SLOTS is decoded by respguard.WatchCluster, with bounds, not by the client",
	"MasterForKey":   "CLUSTER SLOTS is decoded by respguard.WatchCluster, with bounds, not by the client",
	"ReloadState":    "CLUSTER SLOTS is decoded by respguard.WatchCluster, with bounds, not by the client",
	"Subscribe":      "it sends alone; messages are received by respguard.Receive",
	"ReceiveTimeout": "respguard.Receive recovers, for go-redis panics over a message of too few parts, or of other types",
}

func TestEveryReplyThatGoRedisDecodesIsGuarded(t *testing.T) {
	if testing.Short() {
		t.Skip("loads every package, which -short leaves out")
	}
	found := map[string]bool{}
	for _, s := range shippedSources(t) {
		for _, file := range s.files {
			ast.Inspect(file, func(node ast.Node) bool {
				if call, ok := node.(*ast.CallExpr); ok {
					function := s.called(call)
					if function != nil && function.Pkg() != nil && strings.HasPrefix(function.Pkg().Path(), goRedis) {
						if asks(function) {
							found[function.Name()] = true
						}
					}
				}
				return true
			})
		}
	}
	compare(t, found, decoded, "find out what go-redis does with odd replies to it; have it guarded, and name how in the table decoded")
}
