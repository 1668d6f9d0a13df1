// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
)

const recordBytes = 27

func logOf(t *testing.T, client redis.UniversalClient) string {
	t.Helper()
	return client.GetRange(t.Context(), keyOf(users)+":d:list", 0, -1).Val()
}

func fenceIn(t *testing.T, client redis.UniversalClient) string {
	t.Helper()
	return client.GetRange(t.Context(), keyOf(users)+":o:list", 11, 21).Val()
}

func digestOf(user, id string) string {
	sum := sha1.Sum(fmt.Appendf(nil, "4:list:%d:%s:%s", len(user), user, id))
	return hex.EncodeToString(sum[:8])
}

// Near caches read the log: docs/protocol.md says what is in it, how much, and for how long.
func TestLogOfDeletionsTellsOfEachInOrder(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	r := registryOn(t, client)
	apply(t, r, users, caching())
	lease(t, r, entry("list", "a", ""))
	var want []string
	for i := range 600 {
		key, fence := entry("list", fmt.Sprint(i), ""), fenceIn(t, client)
		var err error
		switch i % 3 {
		case 0:
			_, err = r.Delete(t.Context(), key)
		case 1:
			key.User = "ada"
			_, err = r.Put(t.Context(), key, nil, FillOptions{})
		case 2:
			_, err = r.Hold(t.Context(), users, HoldID{byte(i), byte(i >> 8), 1}, time.Minute, HoldEntry(key))
		}
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, fence+digestOf(key.User, key.ID))
		log := logOf(t, client)
		told := len(log) / recordBytes
		if len(log)%recordBytes != 0 || told > 256 || told < min(len(want), 128) {
			t.Fatalf("after %d deletions it has %d bytes", len(want), len(log))
		}
		if tail := strings.Join(want[len(want)-told:], ""); log != tail {
			t.Fatalf("after %d deletions it is %q, want %q", len(want), log, tail)
		}
		ofLog := client.PTTL(t.Context(), keyOf(users)+":d:list").Val()
		ofHead := client.PTTL(t.Context(), keyOf(users)+":o:list").Val()
		if ofLog < ofHead/2 || ofLog > ofHead+time.Second {
			t.Fatalf("it lasts for %s, and the head for %s", ofLog, ofHead)
		}
	}
}

// If Redis refuses the rest of a call, the log tells of a deletion too many, and never of one too
// few. Else a near cache could serve what was deleted.
func TestDeletionThatRedisRefusesLeavesNoGapInTheLog(t *testing.T) {
	for _, refused := range []string{"append", "setrange", "unlink"} {
		server := redistest.Start(t)
		client := server.Client()
		r := registryOn(t, client)
		apply(t, r, users, caching())
		lease(t, r, entry("list", "a", ""))
		if err := client.Do(t.Context(), "ACL", "SETUSER", "limited", "on", ">secret", "~*", "+@all", "-"+refused).Err(); err != nil {
			t.Fatal(err)
		}
		before := fenceIn(t, client)
		if _, err := New(server.ClientAs("limited", "secret")).Delete(t.Context(), entry("list", "a", "")); err == nil {
			t.Fatalf("without %s nothing fails", refused)
		}
		if fenceIn(t, client) != before && !strings.Contains(logOf(t, client), before+digestOf("", "a")) {
			t.Errorf("without %s the fence has changed, and the log is %q", refused, logOf(t, client))
		}
	}
}
