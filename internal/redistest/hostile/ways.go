// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package hostile

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Canary is in the answers of Servers that imitate a service other than Redis. It stands
// for a secret of that service, so it must never be shown.
const Canary = "token=canary"

// odd is text that must not be shown as it is: it moves the cursor of a terminal, and is not UTF-8.
const odd = "\x1b[31m\x00\x07\x9b\xff"

// Way is a way to answer a call.
type Way struct {
	Name string
	// Calls that can have this answer. Empty means all.
	Calls []string

	redirects bool
	answer    func(*exchange) error
}

// allWays returns all ways, whose answers have megabytes and are made once.
var allWays = sync.OnceValue(func() []Way { return slices.Concat(waysOfEach(), waysOfSome()) })

// Faults returns all ways to misbehave in each of the calls.
func Faults(calls []string) []Fault {
	var faults []Fault
	for _, call := range calls {
		for _, way := range allWays() {
			if len(way.Calls) == 0 || slices.Contains(way.Calls, call) {
				faults = append(faults, Fault{Call: call, Way: way})
			}
		}
	}
	return faults
}

// Roles returns all roles. A role follows those with which it shares calls.
func Roles() []Role { return []Role{Standalone, WithoutHello, ClusterNode, Sentinel} }

// FaultsOf returns the faults that servers of each role can have, given the calls that they
// receive. A call that several roles receive counts for the first one only. Redirections also count
// for cluster nodes, because only their clients follow them.
func FaultsOf(calls map[Role][]string) map[Role][]Fault {
	faults, met := map[Role][]Fault{}, map[string]bool{}
	for _, role := range Roles() {
		faults[role] = slices.DeleteFunc(Faults(calls[role]), func(fault Fault) bool {
			return met[fault.Call] && (role != ClusterNode || !fault.Way.redirects)
		})
		for _, call := range calls[role] {
			met[call] = true
		}
	}
	return faults
}

// FaultOf returns the fault of a name, in one call. It fails the test if there is none.
func FaultOf(tb testing.TB, call, name string) Fault {
	tb.Helper()
	for _, fault := range Faults([]string{call}) {
		if fault.Way.Name == name {
			return fault
		}
	}
	tb.Fatalf("there is no way %q to answer %s", name, call)
	return Fault{}
}

// Sample returns one in oneIn faults, so that each call and each way occur in some of them. It
// keeps all faults that only some calls can have.
func Sample(faults []Fault, oneIn int) []Fault {
	var sample []Fault
	for i, fault := range faults {
		if i%oneIn == 0 || len(fault.Way.Calls) > 0 {
			sample = append(sample, fault)
		}
	}
	return sample
}

// whole returns a reply after which the conversation continues.
func whole(name, reply string, calls ...string) Way {
	return Way{
		Name: name, Calls: calls, answer: func(e *exchange) error { return e.write([]byte(reply)) },
	}
}

// broken returns a reply after which the server is silent.
func broken(name, reply string) Way {
	return streamed(name, reply, "", 0)
}

// streamed returns a reply that repeats a piece and then falls silent.
func streamed(name, beginning, piece string, times int, calls ...string) Way {
	return Way{Name: name, Calls: calls, answer: func(e *exchange) error {
		if err := e.stream(beginning, piece, times); err != nil {
			return err
		}
		return errSilent
	}}
}

const (
	endless = maxAnswer
	million = 1_000_000
	// slow is a delay that the operator must accept from a store that answers each call.
	slow = 1500 * time.Millisecond
	// dripInterval is the pause between two bytes of a slow answer.
	dripInterval = 20 * time.Millisecond
)

func waysOfEach() []Way {
	return slices.Concat(waysOfLength(), waysOfType(), waysOfText(), waysOfTime(), waysOfOrder())
}

// waysOfLength claim to send, or send, more than any client wants.
func waysOfLength() []Way {
	chunk := strings.Repeat("x", 1<<14)
	return []Way{
		broken("longest bulk", "$9223372036854775805\r\n"),
		broken("bulk of 40 GiB", "$42949672960\r\n"),
		broken("bulk of 512 MiB that does not come", "$536870912\r\n"),
		broken("negative bulk", "$-5\r\n"),
		broken("bulk of no number", "$0x10\r\n"),
		broken("streamed bulk", "$?\r\n;1073741824\r\n"),
		broken("blob error of 40 GiB", "!42949672960\r\n"),
		broken("verbatim text of 40 GiB", "=42949672960\r\n"),
		broken("huge array", "*2000000000\r\n"),
		broken("longest array", "*9223372036854775807\r\n"),
		broken("negative array", "*-7\r\n"),
		broken("huge map", "%2000000000\r\n"),
		broken("map that overflows", "%4611686018427387905\r\n"),
		broken("huge set", "~2000000000\r\n"),
		broken("huge push", ">2000000000\r\n"),
		broken("huge attribute", "|2000000000\r\n"),
		streamed("deep nesting", "", "*1\r\n", 4*million),
		streamed("deep maps", "", "%1\r\n+k\r\n", million),
		streamed("endless attributes", "", "|1\r\n+k\r\n+v\r\n", endless),
		streamed("2,000,000 elements", "*2000000\r\n", "$8\r\nmodule-1\r\n", 2*million),
		streamed("array of 1,000,000 arrays", "*1000000\r\n", "*2\r\n:1\r\n:2\r\n", million),
		streamed("1 GiB of bulk", "$1073741824\r\n", chunk, endless),
		streamed("error line without end", "-ERR ", chunk, endless),
		streamed("simple line without end", "+", chunk, endless),
		streamed("number without end", ":", strings.Repeat("9", 1<<14), endless),
		streamed("length without end", "$", strings.Repeat("0", 1<<14), endless),
		streamed("big number without end", "(", strings.Repeat("9", 1<<14), endless),
	}
}

// waysOfType answer with another type than expected, well-formed or not.
func waysOfType() []Way {
	return []Way{
		whole("nil", "$-1\r\n"), whole("nil array", "*-1\r\n"), whole("null", "_\r\n"),
		whole("integer", ":1\r\n"), whole("negative integer", ":-5\r\n"), whole("largest integer",
			":9223372036854775807\r\n"),
		whole("integer that overflows", ":92233720368547758070\r\n"),
		whole("simple text", "+OK\r\n"), whole("text", "$5\r\nhello\r\n"),
		whole("empty text", "$0\r\n\r\n"),
		whole("number", ",1.5\r\n"), whole("no number", ",nan\r\n"), whole("truth", "#t\r\n"),
		whole("no truth", "#x\r\n"),
		whole("big number", "(3492890328409238509324850943850943825024385\r\n"), whole("verbatim text",
			"=9\r\ntxt:hello\r\n"),
		whole("verbatim text that is too short", "=1\r\nx\r\n"),
		whole("empty array", "*0\r\n"), whole("empty map", "%0\r\n"),
		whole("array of one", "*1\r\n$1\r\nx\r\n"),
		whole("negative numbers", "*2\r\n:-5\r\n:-7\r\n"),
		whole("largest numbers", "*2\r\n:9223372036854775807\r\n:9223372036854775807\r\n"),
		whole("array of nils", "*4\r\n$-1\r\n*-1\r\n_\r\n$-1\r\n"),
		whole("array of errors", "*3\r\n-ERR "+odd+"\r\n-ERR x\r\n-ERR y\r\n"),
		whole("mixed array", "*4\r\n*1\r\n:1\r\n%1\r\n+a\r\n:2\r\n#f\r\n,2.5\r\n"),
		whole("map of arrays", "%1\r\n*1\r\n:1\r\n*1\r\n:2\r\n"),
		broken("unknown type", "?5\r\nhello\r\n"), broken("byte 0", "\x00\x00\x00\x00\r\n"),
		broken("line end alone", "\r\n"), broken("many line ends", strings.Repeat("\r\n", 10_000)),
		broken("type alone", "*\r\n"),
		broken("line without return", ":1\n"), broken("bulk without its end", "$5\r\nhelloXX"),
	}
}

// waysOfText answer with errors, or like services that are not Redis.
func waysOfText() []Way {
	return []Way{
		broken("HTTP",
			"HTTP/1.1 400 Bad Request "+Canary+"\r\nContent-Type: text/plain\r\n"+
				"Connection: close\r\n\r\n"+Canary+"\r\n"),
		broken("TLS alert", "\x15\x03\x01\x00\x02\x02\x46"),
		broken("greeting", "220 mail.example.com ESMTP "+Canary+"\r\n"),
		whole("error with control bytes", "-ERR "+odd+" is said\r\n"),
		whole("error of control bytes alone", "-"+odd+"\r\n"),
		whole("empty error", "-\r\n"),
		whole("long error", "-ERR "+strings.Repeat("x", 60_000)+"\r\n"),
		whole("error that looks like the library's", "-CACHEWRIGHT "+odd+"\r\n"),
		whole("blob error", "!9\r\nERR no\x1b[2\r\n"),
		whole("unknown command", "-ERR unknown command 'X', with args beginning with: "+odd+"\r\n"),
		whole("no function", "-ERR Function not found\r\n"),
		whole("no permission", "-NOPERM this user has no permissions "+odd+"\r\n"),
		whole("wrong password", "-WRONGPASS "+odd+"\r\n"),
		whole("busy", "-BUSY Redis is busy running a script\r\n"),
		whole("loading", "-LOADING Redis is loading\r\n"),
		whole("out of memory", "-OOM command not allowed\r\n"),
		whole("read only", "-READONLY You can't write\r\n"),
		whole("wrong type of key", "-WRONGTYPE Operation against a key\r\n"),
		whole("too many clients", "-ERR max number of clients reached\r\n"),
		redirected("moved to itself", "MOVED 1 ", ""), redirected("asked to itself", "ASK 1 ", ""),
		redirected("moved to nowhere", "MOVED 1 ", "127.0.0.1:1"), redirected("moved to no address",
			"MOVED 99999999999 ", ":"),
		whole("moved without words", "-MOVED\r\n"), whole("asked without words", "-ASK \r\n"),
	}
}

func redirected(name, to, address string) Way {
	return Way{Name: name, redirects: true, answer: func(e *exchange) error {
		target := address
		if target == "" {
			target = e.server.Addr()
		}
		return e.write([]byte("-" + to + target + "\r\n"))
	}}
}
