// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
)

// The library remembers the rule of an operation with its head. No change of a policy is missed by
// it, and none that leaves entries alone fences loads.
func TestALoadUnderWayIsFilledByTheRuleOfItsEnd(t *testing.T) {
	const payload = 100
	ruled := func(change func(o *OperationPolicy)) Policy {
		o := OperationPolicy{Name: "list", TTL: time.Hour, StaleFor: time.Minute, NegativeTTL: time.Minute}
		change(&o)
		return Policy{Operations: []OperationPolicy{o}}
	}
	same := func(*OperationPolicy) {}
	for name, test := range map[string]struct {
		after    Policy
		negative bool
		want     Filled
	}{
		"longer":             {after: ruled(func(o *OperationPolicy) { o.TTL = 2 * time.Hour }), want: Filled{Stored, 2 * time.Hour}},
		"shorter":            {after: ruled(func(o *OperationPolicy) { o.TTL = time.Second }), want: Filled{Stored, time.Second}},
		"another negative":   {after: ruled(func(o *OperationPolicy) { o.NegativeTTL = time.Second }), negative: true, want: Filled{Stored, time.Second}},
		"negative no longer": {after: ruled(func(o *OperationPolicy) { o.NegativeTTL = 0 }), negative: true, want: Filled{Outcome: Disabled}},
		"smaller":            {after: ruled(func(o *OperationPolicy) { o.MaxEntryBytes = payload - 1 }), want: Filled{Outcome: Refused}},
		"large enough":       {after: ruled(func(o *OperationPolicy) { o.MaxEntryBytes = payload }), want: Filled{Stored, time.Hour}},
		"of users":           {after: ruled(func(o *OperationPolicy) { o.Scope = ScopeUser }), want: Filled{Outcome: Refused}},
		"by default":         {after: Policy{DefaultTTL: new(time.Minute)}, want: Filled{Stored, time.Minute}},
		"no longer":          {after: Policy{}, want: Filled{Outcome: Disabled}},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := newRegistry(t)
			apply(t, r, users, ruled(same))
			fill(t, r, entry("list", "before", ""), "x") // now the rule is remembered
			key := entry("list", "a", "")
			token := lease(t, r, key).Token
			apply(t, r, users, test.after)
			set := r.Set
			if test.negative {
				set = r.SetNegative
			}
			if filled, err := set(t.Context(), key, bytes.Repeat([]byte("x"), payload), token); err != nil || filled != test.want {
				t.Errorf("got %+v (%v), want %+v", filled, err, test.want)
			}
		})
	}
}

// Nor do the counters have to be there, which tell the operations of a default from others.
func TestALoadUnderWayIsFilledByTheNewDefaultWithoutCounters(t *testing.T) {
	r, client := newRegistry(t)
	key := entry("list", "a", "")
	apply(t, r, users, Policy{DefaultTTL: new(time.Hour)})
	fill(t, r, key, "x")
	token := lease(t, r, entry("list", "b", "")).Token
	if err := client.Del(t.Context(), keyOf(users)+":counters").Err(); err != nil {
		t.Fatal(err)
	}
	apply(t, r, users, Policy{DefaultTTL: new(2 * time.Hour)})
	if filled, err := r.Set(t.Context(), key, []byte("x"), token); err != nil || filled != (Filled{Stored, 2 * time.Hour}) {
		t.Errorf("got %+v (%v)", filled, err)
	}
}

// replicated returns a primary and its replica.
func replicated(t *testing.T) []*redistest.Server {
	t.Helper()
	primary := redistest.Start(t)
	return []*redistest.Server{primary, redistest.StartReplica(t, primary)}
}

// promote makes one of two servers the primary and the other its replica.
func promote(t *testing.T, servers []*redistest.Server, at int) {
	t.Helper()
	host, port, err := net.SplitHostPort(servers[at].Addr())
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []*redis.StatusCmd{
		servers[at].Client().ReplicaOf(t.Context(), "NO", "ONE"),
		servers[1-at].Client().ReplicaOf(t.Context(), host, port),
	} {
		if err := command.Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// A server that was demoted and is promoted again has missed calls, but no change.
func TestAPrimaryThatReturnsFillsByTheRuleMadeInBetween(t *testing.T) {
	t.Parallel()
	servers := replicated(t)
	key := entry("list", "a", "")
	fillAt := func(at int, want time.Duration) {
		t.Helper()
		r := New(servers[at].Client())
		filled, err := r.Set(t.Context(), key, []byte("x"), lease(t, r, entry("list", "none", "")).Token)
		if err != nil || filled != (Filled{Stored, want}) {
			t.Errorf("got %+v (%v), want %v", filled, err, want)
		}
		servers[at].WaitReplicated()
	}
	policy := func(ttl time.Duration) Policy { return Policy{Operations: []OperationPolicy{{Name: "list", TTL: ttl}}} }

	apply(t, registryOn(t, servers[0].Client()), users, policy(time.Minute))
	fillAt(0, time.Minute)
	promote(t, servers, 1)
	apply(t, New(servers[1].Client()), users, policy(time.Hour))
	fillAt(1, time.Hour)
	promote(t, servers, 0)
	fillAt(0, time.Hour)
}
