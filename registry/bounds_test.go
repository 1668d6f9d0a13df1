// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/info"
)

func TestAnswersThatCannotBeAreRefused(t *testing.T) {
	manyOperations := fmt.Sprintf("*%d\r\n", 2*(maxStatOperations+1))
	for i := range maxStatOperations + 1 {
		manyOperations += bulk(fmt.Sprint("keys:", i)) + ":1\r\n"
	}
	invalidate := func(ctx context.Context, r *Registry) error {
		_, err := r.Invalidate(ctx, users, Scope{}, ModeHard, "")
		return err
	}
	stats := func(ctx context.Context, r *Registry) error {
		_, err := r.Stats(ctx, users)
		return err
	}
	policy := func(ctx context.Context, r *Registry) error {
		_, _, err := r.Policy(ctx, users)
		return err
	}
	for name, test := range map[string]struct {
		to, reply string
		call      func(context.Context, *Registry) error
	}{
		"keys below zero":             {"fcall cw_invalidate", "*2\r\n:-5\r\n:0\r\n", invalidate},
		"pending below zero":          {"fcall cw_invalidate", "*2\r\n:5\r\n:-1\r\n", invalidate},
		"more keys than there are":    {"fcall cw_invalidate", "*2\r\n:9223372036854775807\r\n:0\r\n", invalidate},
		"a figure below zero":         {"fcall cw_stats", "*2\r\n" + bulk("hits:list") + ":-1\r\n", stats},
		"a figure that is text":       {"fcall cw_stats", "*2\r\n" + bulk("hits:list") + bulk("x"), stats},
		"a name that is a number":     {"fcall cw_stats", "*2\r\n:1\r\n:1\r\n", stats},
		"a name without an end":       {"fcall cw_stats", "*2\r\n" + bulk("hits:"+strings.Repeat("a", 1000)) + ":1\r\n", stats},
		"operations without an end":   {"fcall cw_stats", manyOperations, stats},
		"a policy that is none":       {"fcall cw_policy_get", bulk("<html>"), policy},
		"a TTL below zero":            {"fcall cw_policy_get", bulk(`{"defaultTtlMs":-1}`), policy},
		"a TTL beyond the longest":    {"fcall cw_policy_get", bulk(`{"operations":[{"name":"a","ttlMs":9223372036854775807}]}`), policy},
		"a jitter beyond the largest": {"fcall cw_policy_get", bulk(`{"operations":[{"name":"a","ttlMs":1,"jitterPercent":51}]}`), policy},
		"freed below zero": {"fcall cw_reclaim", "*2\r\n:-1\r\n:0\r\n", func(ctx context.Context, r *Registry) error {
			_, err := r.Reclaim(ctx, users, 1)
			return err
		}},
		"a hash that is none": {"fcall_ro cw_policy_hash", bulk("token=secret"), func(ctx context.Context, r *Registry) error {
			_, err := r.PolicyHashes(ctx, []Slot{users})
			return err
		}},
		"a TTL of a fill beyond the longest": {"fcall cw_set", ":9223372036854775807\r\n", func(ctx context.Context, r *Registry) error {
			_, err := r.Set(ctx, entry("list", "a", ""), nil, "0")
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := operatorOf(t, Connection{Addresses: []string{answering(t, to(test.to, test.reply))}})
			err := test.call(t.Context(), r)
			if !errors.Is(err, ErrUnexpected) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestTimesThatCannotBeAreBounded(t *testing.T) {
	for _, ms := range []int64{-1, 1 << 62, 9223372036854775807} {
		for _, reply := range [][]any{{replyMiss, "token", ms}, {replyHit, "payload", ms, int64(0)}} {
			lookup, ok := parseLookup(reply)
			if !ok || lookup.Wait < 0 || lookup.Wait > 2*maxTTL || lookup.Remaining < 0 || lookup.Remaining > 2*maxTTL {
				t.Errorf("%v: %v", reply, lookup)
			}
		}
	}
}

func TestListOfModulesIsBounded(t *testing.T) {
	list := func(names ...string) string {
		reply := fmt.Sprintf("*%d\r\n", len(names))
		for _, name := range names {
			reply += bulk(name)
		}
		return reply
	}
	var many []string
	for i := range maxModules + 1 {
		many = append(many, fmt.Sprint("m", i))
	}
	r := operatorOf(t, Connection{Addresses: []string{answering(t, to("smembers", list(many...)))}})
	if _, err := r.Modules(t.Context(), "shop"); !errors.Is(err, ErrMisbehaves) {
		t.Errorf("%d modules: %v", len(many), err)
	}
	r = operatorOf(t, Connection{Addresses: []string{answering(t, to("smembers", list("users", "a b", "", "c\x1b[2J", strings.Repeat("a", 300))))}})
	if modules, err := r.Modules(t.Context(), "shop"); err != nil || len(modules) != 1 || modules[0] != "users" {
		t.Errorf("%q, %v", modules, err)
	}
}

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
			p := parsePrimary("redis:6379", text)
			if len(p.Version) > maxVersion+3 || len(p.Replicas) > info.MaxReplicas || p.Uptime < 0 || p.MaxMemory < 0 || p.UsedMemory < 0 {
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
	if p := parsePrimary("redis:6379", lines); len(p.Replicas) != info.MaxReplicas {
		t.Errorf("%d replicas", len(p.Replicas))
	}
}

func TestErrorsOfServersAreShownWithoutControlBytes(t *testing.T) {
	answer := to("info", "-ERR \x1b[2Jaway\x07"+strings.Repeat("x", 900)+"\r\n")
	_, err := operatorOf(t, Connection{Addresses: []string{answering(t, answer)}}).Check(t.Context())
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\x07") || len(err.Error()) > 500 {
		t.Errorf("%q", err)
	}
	if !fault.IsReply(err) {
		t.Error("it is no error of Redis any more")
	}
}

func TestTextsOfInfoFitTheFieldsThatShowThem(t *testing.T) {
	long := strings.Repeat("x", 2*256)
	said := "redis_version:" + long + "\r\nredis_mode:" + long + "\r\nmaxmemory_policy:" + long + "\r\n"
	primary := parsePrimary("127.0.0.1:6379", said)
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
