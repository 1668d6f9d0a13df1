// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cachewright/cachewright/registry/internal/bounds"
)

// The next fill obeys the policy in force.
func TestTheNextFillObeysThePolicy(t *testing.T) {
	r, _ := newRegistry(t)
	for i, ttl := range []time.Duration{time.Minute, time.Hour, 1500 * time.Millisecond} {
		apply(t, r, users, Policy{Operations: []OperationPolicy{{Name: "list", TTL: ttl}}})
		key := entry("list", fmt.Sprint(i), "")
		filled, err := r.Set(t.Context(), key, []byte("x"), lease(t, r, key).Token)
		if err != nil || filled != (Filled{Outcome: Stored, TTL: ttl}) {
			t.Errorf("got %+v (%v), want a TTL of %v", filled, err, ttl)
		}
	}
}

func TestJitterShortensEachTTLWithinItsShare(t *testing.T) {
	r, _ := newRegistry(t)
	const ttl = 1000 * time.Second
	apply(t, r, users, Policy{Operations: []OperationPolicy{{Name: "list", TTL: ttl, JitterPercent: 10}}})
	seen := map[time.Duration]bool{}
	for i := range 200 {
		key := entry("list", fmt.Sprint(i), "")
		filled, err := r.Set(t.Context(), key, []byte("x"), lease(t, r, key).Token)
		if err != nil || filled.TTL > ttl || filled.TTL < ttl*9/10 {
			t.Fatalf("got %+v (%v)", filled, err)
		}
		seen[filled.TTL] = true
	}
	if len(seen) < 100 {
		t.Errorf("%d different TTLs of 200", len(seen))
	}
}

func TestEntriesThatAreThereObeyToo(t *testing.T) {
	r, client := newRegistry(t)
	const count = 450
	policy := func(ttl time.Duration, scope OperationScope) Policy {
		return Policy{
			DefaultTTL: new(time.Hour),
			Operations: []OperationPolicy{{Name: "list", TTL: ttl, Scope: scope}},
		}
	}
	prepare := func(t *testing.T) {
		t.Helper()
		if err := client.FlushDB(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		apply(t, r, users, policy(time.Hour, ""))
		fillMany(t, r, "list", "", count)
		fillMany(t, r, "other", "", 3)
	}
	remaining := func(operation string, i int) time.Duration {
		return client.PTTL(t.Context(), entry(operation, fmt.Sprint(i), "").appendReadKeys(nil)[0]).Val()
	}

	t.Run("a lowered TTL shortens them, the rest by reclaim", func(t *testing.T) {
		prepare(t)
		apply(t, r, users, policy(time.Minute, ""))
		stats, err := r.Stats(t.Context(), users)
		if err != nil || stats.Pending != count-100 {
			t.Errorf("%d pending (%v), want all but 100", stats.Pending, err)
		}
		reclaimAll(t, r, users)
		for i := range count {
			if left := remaining("list", i); left <= 0 || left > time.Minute {
				t.Fatalf("entry %d has %v left", i, left)
			}
		}
		if left := remaining("other", 1); left < time.Minute {
			t.Errorf("an entry of another operation has %v left", left)
		}
		if !isHit(t, r, entry("list", "7", "")) {
			t.Error("a shortened entry is gone")
		}
	})
	t.Run("a raised TTL leaves them", func(t *testing.T) {
		prepare(t)
		apply(t, r, users, policy(2*time.Hour, ""))
		if left := remaining("list", 1); left > time.Hour || left < time.Hour-time.Minute {
			t.Errorf("%v left", left)
		}
	})
	t.Run("TTL 0 invalidates them", func(t *testing.T) {
		prepare(t)
		apply(t, r, users, policy(0, ""))
		if isHit(t, r, entry("list", "1", "")) || !isHit(t, r, entry("other", "1", "")) {
			t.Error("the kill switch missed, or hit the wrong operation")
		}
	})
	t.Run("an operation that is users' now loses its shared entries", func(t *testing.T) {
		prepare(t)
		apply(t, r, users, policy(time.Hour, ScopeUser))
		if isHit(t, r, entry("list", "1", "")) || !isHit(t, r, entry("other", "1", "")) {
			t.Error("shared entries outlived their permission")
		}
	})
	t.Run("an operation that is no longer cached by default", func(t *testing.T) {
		prepare(t)
		apply(t, r, users, Policy{Operations: []OperationPolicy{{Name: "list", TTL: time.Hour}}})
		if !isHit(t, r, entry("list", "1", "")) || isHit(t, r, entry("other", "1", "")) {
			t.Error("want list cached and other not")
		}
	})
	t.Run("the same policy again changes nothing", func(t *testing.T) {
		prepare(t)
		before := snapshot(t, client)
		if apply(t, r, users, policy(time.Hour, "")).Changed || !reflect.DeepEqual(before, snapshot(t, client)) {
			t.Error("something changed")
		}
	})
	t.Run("deleting the policy invalidates the module and leaves nothing", func(t *testing.T) {
		prepare(t)
		if existed, err := r.DeletePolicy(t.Context(), users); err != nil || !existed {
			t.Fatal(existed, err)
		}
		if isHit(t, r, entry("list", "1", "")) {
			t.Error("an entry outlived its policy")
		}
		reclaimAll(t, r, users)
		if keys := keysOf(t, client, users); len(keys) != 0 {
			t.Errorf("left %v", keys)
		}
		if _, err := r.Modules(t.Context(), "shop"); !errors.Is(err, ErrModulesUnknown) {
			t.Errorf("the module is still listed: %v", err)
		}
	})
}

// Without the policy nobody knows the revision of entries: applying one with a revision purges.
func TestARevisionAfterTheLossOfThePolicyPurges(t *testing.T) {
	r, client := newRegistry(t)
	policy := Policy{Revision: "2", DefaultTTL: new(time.Hour)}
	if apply(t, r, users, policy).Purged {
		t.Error("there was nothing to purge")
	}
	fillAll(t, r, entry("list", "a", ""))
	client.Del(t.Context(), policyKey(users))
	if !apply(t, r, users, policy).Purged || isHit(t, r, entry("list", "a", "")) {
		t.Error("entries of an unknown revision are served")
	}
}

func TestAPolicyComesBackAsItWentIn(t *testing.T) {
	r, _ := newRegistry(t)
	rapid.Check(t, func(rt *rapid.T) {
		policy := drawPolicy(rt)
		apply(t, r, users, policy)
		got, found, err := r.Policy(t.Context(), users)
		if err != nil || !found || !reflect.DeepEqual(got, policy) {
			rt.Fatalf("got %+v (%v, %v), want %+v", got, found, err, policy)
		}
		hashes, err := r.PolicyHashes(t.Context(), []Slot{users, {Namespace: "shop", Module: "nothing"}})
		if err != nil || hashes[0] != policy.Hash() || hashes[1] != "" {
			rt.Fatalf("hashes %q (%v), want %q and none", hashes, err, policy.Hash())
		}
	})
}

func drawPolicy(t *rapid.T) Policy {
	ttl := rapid.Map(rapid.Int64Range(0, 720*3600*1000), bounds.Milliseconds)
	names := rapid.SliceOfDistinct(rapid.StringN(1, 20, 128), rapid.ID).Draw(t, "names")
	policy := Policy{Revision: rapid.StringN(0, 20, 128).Draw(t, "revision")}
	if rapid.Bool().Draw(t, "default") {
		policy.DefaultTTL = new(ttl.Draw(t, "default TTL"))
	}
	for _, name := range names {
		policy.Operations = append(policy.Operations, OperationPolicy{
			Name:          name,
			TTL:           ttl.Draw(t, "ttl"),
			StaleFor:      ttl.Draw(t, "staleFor"),
			NegativeTTL:   ttl.Draw(t, "negativeTTL"),
			JitterPercent: rapid.IntRange(0, 50).Draw(t, "jitter"),
			Scope:         rapid.SampledFrom([]OperationScope{"", ScopeAny, ScopeUser}).Draw(t, "scope"),
			MaxEntryBytes: rapid.Int64Range(0, 64<<20).Draw(t, "max"),
			LocalTTL:      rapid.Ptr(ttl, true).Draw(t, "localTTL"),
		})
	}
	return policy
}

func TestAPolicyMayHave256Operations(t *testing.T) {
	r, _ := newRegistry(t)
	policy := Policy{}
	for i := range 256 {
		policy.Operations = append(policy.Operations, OperationPolicy{Name: fmt.Sprint("operation", i), TTL: time.Minute})
	}
	apply(t, r, users, policy)
	fillAll(t, r, entry("operation255", "a", ""))
	policy.Operations[0].Name = strings.Repeat("o", 128)
	policy.Revision = strings.Repeat("r", 128)
	apply(t, r, users, policy)
	policy.Operations = append(policy.Operations, OperationPolicy{Name: "one more", TTL: time.Minute})
	if _, err := r.ApplyPolicy(t.Context(), users, policy); !errors.Is(err, ErrRejected) {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestARefusedPolicySaysWhatToCorrectAndChangesNothing(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, caching())
	_, err := r.ApplyPolicy(t.Context(), users, Policy{Operations: []OperationPolicy{{Name: "list", TTL: 721 * time.Hour}}})
	if !errors.Is(err, ErrRejected) || !strings.Contains(err.Error(), "operations[0].ttlMs must be a whole number from 0 to 2592000000") {
		t.Errorf("got %v", err)
	}
	if policy, _, err := r.Policy(t.Context(), users); err != nil || !reflect.DeepEqual(policy, caching()) {
		t.Errorf("the policy is %+v (%v)", policy, err)
	}
}

func TestTTLOfAPolicy(t *testing.T) {
	policy := Policy{DefaultTTL: new(time.Hour), Operations: []OperationPolicy{{Name: "list", TTL: time.Minute}, {Name: "create"}}}
	for operation, want := range map[string]time.Duration{"list": time.Minute, "create": 0, "other": time.Hour} {
		if got := policy.TTL(operation); got != want {
			t.Errorf("%s: got %v, want %v", operation, got, want)
		}
	}
	if got := (Policy{}).TTL("list"); got != 0 {
		t.Errorf("without a default: got %v", got)
	}
}
