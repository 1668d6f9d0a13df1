// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package tutorials

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

const redisPage = "../../docs/how-to/redis.md"

// TestTheRedisPageStartsAServer starts Redis with the file of the page, and caches in it, as its last
// lines try it.
func TestTheRedisPageStartsAServer(t *testing.T) {
	page, err := os.ReadFile(redisPage)
	if err != nil {
		t.Fatal(err)
	}
	file := regexp.MustCompile("(?s)```conf\n# redis.conf\n(.*?)```").FindSubmatch(page)
	if file == nil {
		t.Fatal("the page has no redis.conf")
	}
	plain := redistest.Start(t).Client()
	var directives [][2]string
	var config []string
	for line := range strings.Lines(string(file[1])) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		directives = append(directives, [2]string{name, strings.Trim(value, `"`)})
		config = append(config, "--"+name, strings.Trim(value, `"`))
	}
	client := redistest.Start(t, config...).Client()
	for _, directive := range directives {
		set, err := client.ConfigGet(t.Context(), directive[0]).Result()
		if _, known := set[directive[0]]; err != nil || !known {
			t.Errorf("Redis has no directive %s (%v)", directive[0], err)
		}
	}
	if policy, err := client.ConfigGet(t.Context(), "maxmemory-policy").Result(); policy["maxmemory-policy"] != "allkeys-lru" {
		t.Errorf("the server has the eviction policy %v (%v)", policy, err)
	}
	// The page tells what these are where nobody sets them.
	for name, value := range map[string]string{"timeout": "0", "tcp-keepalive": "300", "busy-reply-threshold": "5000", "maxmemory": "0"} {
		if got, err := plain.ConfigGet(t.Context(), name).Result(); got[name] != value {
			t.Errorf("%s is %q by default (%v), not %s", name, got[name], err, value)
		}
	}
	wantsToCache(t, registry.New(client))
}

func wantsToCache(t *testing.T, store *registry.Registry) {
	t.Helper()
	key := registry.Key{Slot: registry.Slot{Namespace: "shop", Module: "users"}, Operation: "list", ID: "1"}
	if _, err := store.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := store.ApplyPolicy(t.Context(), key.Slot, registry.Policy{DefaultTTL: new(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	lease, err := store.Lease(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if filled, err := store.Set(t.Context(), key, []byte("payload"), lease.Token); err != nil || filled.Outcome != registry.Stored {
		t.Errorf("a fill: %v (%v)", filled, err)
	}
}

// TestCommandsOfTheRedisPageWork sends each redis-cli line of the page.
func TestCommandsOfTheRedisPageWork(t *testing.T) {
	page, err := os.ReadFile(redisPage)
	if err != nil {
		t.Fatal(err)
	}
	client := redistest.Start(t).Client()
	sent := 0
	for _, line := range regexp.MustCompile("(?m)^redis-cli (.+)$").FindAllStringSubmatch(string(page), -1) {
		command, path, fromFile := strings.Cut(strings.TrimPrefix(line[1], "-x "), " < ")
		var args []any
		for _, word := range strings.Fields(command) {
			args = append(args, strings.Trim(word, "'"))
		}
		if fromFile {
			content, err := os.ReadFile("../../" + path)
			if err != nil {
				t.Fatal(err)
			}
			args = append(args, content)
		}
		if err := client.Do(t.Context(), args...).Err(); err != nil {
			t.Errorf("redis-cli %s: %v", line[1], err)
		}
		sent++
	}
	if sent < 3 {
		t.Errorf("the page has more than %d lines of redis-cli", sent)
	}
}
