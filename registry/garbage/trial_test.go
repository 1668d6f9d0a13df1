// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package garbage

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	policyBefore = `{"revision":"1","defaultTtlMs":600000,"operations":[{"name":"list","ttlMs":3600000,"staleForMs":60000,"negativeTtlMs":60000},{"name":"profile","ttlMs":3600000}]}`
	policyAfter  = `{"revision":"1","defaultTtlMs":600000,"operations":[{"name":"list","ttlMs":1800000},{"name":"profile","ttlMs":3600000}]}`
)

// key names an entry of a slot.
type key struct{ op, user, id string }

func (k key) in(slot, kind string) string {
	return fmt.Sprintf("%s:%s:%d:%s:%d:%s:%s", slot, kind, len(k.op), k.op, len(k.user), k.user, k.id)
}

// stored are entries that are there before the tenant writes.
var stored = []key{{"list", "", "a"}, {"list", "u", "b"}, {"profile", "u", "c"}, {"other", "", "d"}, {"list", "v", "e"}}

// scopes are what is invalidated in the end: which operation, which user.
var scopes = [][2]string{{"", ""}, {"list", ""}, {"", "u"}, {"list", "u"}}

// trial is one script on one slot.
type trial struct {
	*world
	context.Context

	slot string
}

// unclaimedKey is that of the tenant's namespace.
const unclaimedKey = "cw:{shop}:unclaimed"

// longestHold is the longest time that any mark may stand.
const longestHold = 10 * time.Minute

// purgeFirst, added to the number of a scope, has it purged before other calls put right what they
// meet.
const purgeFirst = 4

// try prepares a slot, runs a script on it, makes every call, purges a scope and puts a policy in
// force. An error is a promise that was broken.
func (w *world) try(ctx context.Context, script string, scope int) error {
	slot, err := w.begin(ctx)
	if err != nil {
		return fmt.Errorf("restarting: %w", err)
	}
	t := &trial{w, ctx, slot}
	known, err := t.furnish()
	if err != nil {
		return fmt.Errorf("preparing: %w", err)
	}
	if err := w.run(ctx, script, known); err != nil {
		return err
	}
	steps := []func() error{t.everyCall, func() error { return t.purge(scopes[scope%len(scopes)]) }}
	if scope&purgeFirst != 0 {
		slices.Reverse(steps)
	}
	for _, step := range append(steps, t.startOver, t.wantLittleMemory) {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// wantLittleMemory: calls leave little in the Lua VM, once others gave it the occasion to clean up.
func (t *trial) wantLittleMemory() error {
	for range 1000 {
		if used, err := t.machine(t); err != nil || used <= mostOfMachine {
			return err
		}
		if _, err := t.by(t.operator, "cw_stats"); err != nil {
			return err
		}
	}
	return errors.New("calls left too much in the Lua VM")
}

func (t *trial) by(client *redis.Client, name string, args ...any) (any, error) {
	key := t.slot
	if name == "cw_unclaimed" {
		key = unclaimedKey
	}
	return t.call(t, client, name, key, args...)
}

// furnish fills a slot with all that there can be in one, and returns what scripts name.
func (t *trial) furnish() (names, error) {
	if _, err := t.by(t.operator, "cw_policy_apply", policyBefore); err != nil {
		return nil, err
	}
	for _, k := range stored {
		if err := t.fill(k, "before"); err != nil {
			return nil, err
		}
	}
	_, err := t.tenant.Pipelined(t, func(pipe redis.Pipeliner) error {
		token, _ := t.by(t.tenant, "cw_get", "list", "0", "many")
		fields, _ := token.([]any)
		for i := range 150 {
			pipe.Do(t, "FCALL", "cw_set", 1, t.slot, "list", i, "many", "x", fields[1])
		}
		pipe.Do(t, "FCALL", "cw_invalidate", 1, t.slot, "", "many", "hard", "r1") // it waits for reclaim
		pipe.Do(t, "FCALL", "cw_delete", 1, t.slot, "list", "gone", "")
		pipe.Do(t, "FCALL", "cw_get", 1, t.slot, "list", "locked", "", 60_000)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return t.known()
}

func (t *trial) known() (names, error) {
	head := t.admin.Get(t, t.slot+":o:list").Val()
	if len(head) < 11 {
		return nil, fmt.Errorf("the head of an operation is %q", head)
	}
	index := t.slot + ":i:" + head[:11]
	listed, asides := t.admin.HKeys(t, index).Val(), t.admin.Keys(t, strings.ReplaceAll(t.slot, "[", "\\[")+":a:*").Val()
	if len(listed) == 0 || len(asides) == 0 {
		return nil, fmt.Errorf("slices: %q, what waits: %q", listed, asides)
	}
	return names{
		"slot": t.slot, "epoch": head[:11], "index": index, "slice": listed[0], "chunk": index + ":" + listed[0] + ":0",
		"entry": stored[0].in(t.slot, "e"), "mine": stored[1].in(t.slot, "e"), "aside": asides[0], "module": t.admin.Get(t, t.slot+":m").Val(),
	}, nil
}

// fill stores an entry, which must succeed.
func (t *trial) fill(k key, payload string) error {
	reply, err := t.by(t.tenant, "cw_get", k.op, k.id, k.user)
	if err != nil {
		return err
	}
	fields, _ := reply.([]any)
	if len(fields) < 2 || fields[0] != int64(0) {
		return fmt.Errorf("%q cannot be loaded: %v", k, reply)
	}
	ttl, err := t.by(t.tenant, "cw_set", k.op, k.id, k.user, payload, fields[1])
	if n, _ := ttl.(int64); err == nil && n <= 0 {
		return fmt.Errorf("%q is not stored: %v", k, ttl)
	}
	return err
}

// isServed reads by MGET, as docs/protocol.md has it.
func (t *trial) isServed(k key) (bool, error) {
	keys := []string{k.in(t.slot, "e"), t.slot + ":m", t.slot + ":o:" + k.op}
	if k.user != "" {
		keys = append(keys, t.slot+":u:"+k.user)
	}
	values, err := t.tenant.MGet(t, keys...).Result()
	if err != nil {
		return false, err
	}
	entry, _ := values[0].(string)
	if len(entry) < 18 || entry[0] != 1 {
		return false, nil
	}
	rest := entry[18:]
	for i, value := range values[1:] {
		head, _ := value.(string)
		full := []int{11, 22, 11}[i]
		if len(head) != full && len(head) != full+11 || !strings.HasPrefix(rest, head[:11]) {
			return false, nil
		}
		rest = rest[11:]
	}
	return true, nil
}

// everyCall makes every call, with arguments as they should be.
func (t *trial) everyCall() error {
	calls := [][]any{
		{"cw_get", "list", "a", ""},
		{"cw_get", "list", "b", "u", 60_000},
		{"cw_get", "list", "new", "w", 60_000},
		{"cw_get", "fresh", "a", ""},
		{"cw_unlock", "list", "new", "w"},
		{"cw_unlock", "list", "locked", ""},
		{"cw_delete", "list", "d", ""},
		{"cw_delete", "profile", "d", "u"},
		{"cw_report", "list", "hits", 1, "errors", 2},
		{"cw_stats"},
		{"cw_policy_get"},
		{"cw_policy_hash"},
		{"cw_policy_own", "cluster/shop/policy"},
		{"cw_hold", "0123456789abcdef", 60_000, "e", "list", "", "held", "s", "gone", "", ""},
		{"cw_get", "list", "held", "", 60_000},
		{"cw_release", "0123456789abcdef", "e", "list", "", "held", "s", "gone", "", ""},
		{"cw_hold", "0123456789abcdef", 1, "s", "", "", "", "s", "list", "", "", "s", "", "u", "", "e", "list", "", "a"},
		{"cw_release", "0123456789abcdef", "s", "", "", "", "s", "list", "", "", "s", "", "u", "", "e", "list", "", "a"},
		{"cw_invalidate", "", "", "dry", ""},
		{"cw_invalidate", "list", "", "dry", ""},
		{"cw_invalidate", "", "u", "dry", ""},
		{"cw_invalidate", "list", "u", "dry", ""},
		{"cw_invalidate", "other", "", "soft", "r2"},
		{"cw_invalidate", "list", "u", "soft", "r1"},
		{"cw_reclaim", 200},
		{"cw_reclaim", 7},
		{"cw_put", "list", "put", "u", "x"},
		{"cw_put", "list", "locked", "", "x", "ttl 500"},
		{"cw_put", "profile", "put", "", "x"},
		{"cw_fence", "check"},
	}
	for _, call := range calls {
		if _, err := t.by(t.tenant, fmt.Sprint(call[0]), call[1:]...); err != nil {
			return err
		}
	}
	if err := t.unclaimed(); err != nil {
		return err
	}
	reply, err := t.by(t.tenant, "cw_get", "list", "filled", "u")
	if fields, _ := reply.([]any); err == nil && len(fields) > 1 {
		_, err = t.by(t.tenant, "cw_set", "list", "filled", "u", "x", fields[len(fields)-1])
	}
	return err
}

// unclaimed reports a name, which the operator reads.
func (t *trial) unclaimed() error {
	if _, err := t.by(t.tenant, "cw_unclaimed", "user", "", 1, 0, "users", "lst", 0, 1); err != nil {
		return err
	}
	reply, err := t.by(t.operator, "cw_unclaimed")
	if names, _ := reply.([]any); err == nil && (!slices.Contains(names, any("lst")) || len(names) > 5*64) {
		return fmt.Errorf("what was reported is not there: %v", reply)
	}
	return err
}

// purge invalidates a scope as the operator does: nothing that it covers is served.
func (t *trial) purge(scope [2]string) error {
	reply, err := t.by(t.operator, "cw_invalidate", scope[0], scope[1], "hard", "")
	if err != nil {
		return err
	}
	if reply == nil {
		return fmt.Errorf("the invalidation of %q is refused", scope)
	}
	for _, k := range append(stored, key{"list", "u", "filled"}) {
		if scope[0] != "" && scope[0] != k.op || scope[1] != "" && scope[1] != k.user {
			continue
		}
		if served, err := t.isServed(k); err != nil || served {
			return fmt.Errorf("%q is served after the invalidation of %q (%w)", k, scope, err)
		}
	}
	return nil
}

// startOver puts a policy in force, as the operator does where that in Redis is not the one it
// wrote; then all works again.
func (t *trial) startOver() error {
	if reply, err := t.by(t.operator, "cw_policy_apply", policyAfter); err != nil || reply == nil {
		return fmt.Errorf("the policy is not applied: %v (%w)", reply, err)
	}
	sum := sha1.Sum([]byte(policyAfter))
	if hash, err := t.by(t.operator, "cw_policy_hash"); err != nil || hash != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("its hash is %v (%w)", hash, err)
	}
	for _, k := range []key{{"list", "", "after"}, {"list", "u", "after"}, {"profile", "u", "after"}} {
		if err := t.endHolds(k); err != nil {
			return err
		}
		if err := t.fill(k, "after"); err != nil {
			return err
		}
		if served, err := t.isServed(k); err != nil || !served {
			return fmt.Errorf("%q is not served though it was stored (%w)", k, err)
		}
	}
	if err := t.reclaimAll(); err != nil {
		return err
	}
	if reply, err := t.by(t.operator, "cw_stats"); err != nil || reply == nil {
		return fmt.Errorf("cw_stats answers %v (%w)", reply, err)
	}
	return t.purge(scopes[0])
}

// endHolds lets the marks expire that a tenant wrote, or left by a call. None lasts longer than a
// hold can.
func (t *trial) endHolds(k key) error {
	reply, err := t.by(t.tenant, "cw_get", k.op, k.id, k.user)
	if fields, _ := reply.([]any); err != nil || len(fields) < 4 || fields[0] != int64(0) {
		return err
	}
	for _, name := range []string{k.in(t.slot, "e"), t.slot + ":m", t.slot + ":o:" + k.op, t.slot + ":u:" + k.user} {
		value, _ := t.admin.GetRange(t, name, 0, 1).Result()
		if life := t.admin.PTTL(t, name).Val(); value == "!!" && (life < 0 || life > longestHold) {
			return fmt.Errorf("the mark %q stands for %s", name, life)
		}
		if value == "!!" {
			t.admin.Unlink(t, name)
		}
	}
	return nil
}

func (t *trial) reclaimAll() error {
	for range 3000 {
		reply, err := t.by(t.operator, "cw_reclaim", 200)
		if err != nil {
			return err
		}
		fields, _ := reply.([]any)
		if len(fields) != 2 {
			return fmt.Errorf("cw_reclaim answers %v", reply)
		}
		if fields[1] == int64(0) {
			return nil
		}
	}
	return fmt.Errorf("it is reclaimed without end")
}
