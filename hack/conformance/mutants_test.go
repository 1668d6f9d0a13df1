// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"strings"
	"testing"
)

// Each mistake is found by a case, and the runner names it. The mistakes of drivers are among them.
func TestMistakesOfClientsAreFound(t *testing.T) {
	for bug, found := range map[string]string{
		"spells keys by characters":                       "keys: text beyond ASCII",
		"decodes unknown flags":                           "entries: unknown flag",
		"takes the fence for a soft epoch":                "entries: shared entry, heads in place",
		"takes a missing head for a valid one":            "entries: module head missing",
		"ignores schemas":                                 "entries: another schema",
		"reads the time in the wrong order":               "entries: empty payload",
		"makes shorter ids":                               "ids: empty list",
		"compares the first byte of tokens":               "tokens: of the same heads, and another first byte",
		"sends text, not bytes":                           "calls: bytes of any value",
		"hides errors":                                    "refusals: 1, ",
		"stores nothing as an empty payload":              "read: that the source has nothing is cached",
		"shares what is a user's":                         "read: users do not see each other's entries, nor shared ones",
		"stores a load that failed":                       "read: a load that fails is not stored",
		"takes the token after the load":                  "fence: a load under way when another client invalidates the module",
		"deletes by DEL":                                  "fence: a load under way when the client itself deletes the entry",
		"invalidates the module instead of the operation": "invalidate: the operation",
		"never replaces a stale entry":                    "stale: a stale entry is loaded, and replaced",
		"keeps what it read":                              "held: the module is held by another client",
		"holds for seconds, not milliseconds":             "hold: what the client holds is neither served nor stored",
		"writes by delete, get and set":                   "put: readers find the former value or the new one",
		"writes without a fence":                          "put: a write fences loads of the entry",
		"ignores the TTL of a fill":                       "ttl: a fill may be for less time than the policy says",
		"waits for ever":                                  "wait: a process that dies delays the client for a moment",
		"counts nothing":                                  "count: hits, misses and stale reads are in the statistics once",
		"counts twice":                                    "count: hits, misses and stale reads are in the statistics once",
		"fills with the token 0":                          "count: a read of what is held is no miss",
		"insists on fences":                               "failure: Redis refuses fences: the client does without",
		"follows no heads":                                "near: an invalidation elsewhere takes effect soon",
		"stores no schema":                                "schema: entries of another schema are misses",
		"fails with a fill":                               "failure: Redis has no memory left: the client loads",
		"fences only what connects again":                 "restart: nothing comes back for a process that begins later",
		"fails with Redis":                                "failure: Redis hangs: the client loads",
		"does not know fences":                            "restart: nothing comes back with an old snapshot",
		"supports nothing":                                "read: a miss loads and fills, then it is a hit",
		"prints to standard output":                       "keys: shared",
	} {
		t.Run(bug, func(t *testing.T) {
			t.Parallel()
			result := try(t, "plain:"+bug, "-run", "^"+regexp.QuoteMeta(found), "-limit", "3s")
			if result.status != failed || !strings.Contains(result.output, "FAILED  "+found) {
				t.Errorf("status %d; want %d, and that the client fails this: %s\n%s%s",
					result.status, failed, found, result.output, result.log)
			}
		})
	}
}
