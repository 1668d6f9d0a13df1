// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/registry/internal/fault"
)

func TestAnswersThatCannotBeAreRefused(t *testing.T) {
	const maxStatOperations = 2000
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

func TestListOfModulesIsBounded(t *testing.T) {
	list := func(names ...string) string {
		reply := fmt.Sprintf("*%d\r\n", len(names))
		for _, name := range names {
			reply += bulk(name)
		}
		return reply
	}
	const maxModules = 10_000
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
