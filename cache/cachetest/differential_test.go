// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/registry"
)

// side is one of the two that are compared, with a source that numbers its loads.
type side struct {
	subject

	loads atomic.Int64
}

// answer is what a caller gets, and how often the source was asked so far.
type answer struct {
	value   string
	found   bool
	failure string
	loads   int64
}

func (s *side) answer(value string, found bool, err error) answer {
	a := answer{value: value, found: found, loads: s.loads.Load()}
	for _, known := range []error{cache.ErrNotFound, cache.ErrRefused} {
		if errors.Is(err, known) {
			a.failure = known.Error()
		}
	}
	if err != nil && a.failure == "" {
		a.failure = err.Error()
	}
	return a
}

// of returns the cache as one of two versions of the application sees it.
func (s *side) of(newer bool) cache.Cache {
	if newer {
		return s.newer
	}
	return s.Cache
}

// fetched is what a fetch asks for: a value or none, to be kept for no longer than the limit; 0: as
// the policy says.
type fetched struct {
	missing bool
	limit   time.Duration
}

func (s *side) fetch(newer bool, key cache.Key, f fetched) answer {
	missing := f.missing
	value, err := cache.Fetch(context.Background(), s.of(newer), key, func(ctx context.Context) (string, error) {
		n := s.loads.Add(1)
		if f.limit != 0 {
			cache.LimitTTL(ctx, f.limit)
		}
		if missing {
			return "", cache.ErrNotFound
		}
		return fmt.Sprint("load ", n), nil
	})
	return s.answer(value, err == nil, err)
}

func (s *side) get(newer bool, key cache.Key) answer {
	var value string
	found, err := s.of(newer).Get(context.Background(), key, &value)
	return s.answer(value, found, err)
}

// differential draws what is done to both sides.
type differential struct {
	fake, redis *side
	module      string
	holds       []heldByBoth
}

// heldByBoth is one hold, of each side.
type heldByBoth struct{ fake, redis cache.Hold }

func (d *differential) key(t *rapid.T) cache.Key {
	return cache.Key{
		Module:    d.module,
		Operation: rapid.SampledFrom([]string{"list", "get", "other"}).Draw(t, "operation"),
		Params:    rapid.IntRange(0, 1).Draw(t, "params"),
		User:      rapid.SampledFrom([]string{"", "ada", "bob"}).Draw(t, "user"),
	}
}

// newer draws which version of the application does it.
func (d *differential) newer(t *rapid.T) bool { return rapid.IntRange(0, 2).Draw(t, "newer") == 2 }

func (d *differential) rule(t *rapid.T, name string) registry.OperationPolicy {
	long := rapid.SampledFrom([]time.Duration{0, time.Hour, 2 * time.Hour})
	return registry.OperationPolicy{
		Name: name, TTL: long.Draw(t, "ttl"), StaleFor: long.Draw(t, "staleFor"), NegativeTTL: long.Draw(t, "negativeTTL"),
		Scope:         rapid.SampledFrom([]registry.OperationScope{registry.ScopeAny, registry.ScopeUser}).Draw(t, "scope"),
		MaxEntryBytes: rapid.SampledFrom([]int64{0, 8, 1000}).Draw(t, "maxEntryBytes"),
	}
}

func (d *differential) setPolicy(t *rapid.T) {
	policy := registry.Policy{Revision: rapid.SampledFrom([]string{"", "r1", "r2"}).Draw(t, "revision")}
	for _, name := range []string{"list", "get"} {
		if rapid.Bool().Draw(t, "lists "+name) {
			policy.Operations = append(policy.Operations, d.rule(t, name))
		}
	}
	if rapid.Bool().Draw(t, "by default") {
		ttl := time.Hour
		policy.DefaultTTL = &ttl
	}
	d.fake.setPolicy(d.module, policy)
	d.redis.setPolicy(d.module, policy)
}

// fetch waits for a refresh in the background, which the fake does at once. A reader that comes
// while one ends begins none.
func (d *differential) fetch(t *rapid.T) {
	newer, key := d.newer(t), d.key(t)
	limits := []time.Duration{0, 0, time.Microsecond, 30 * time.Minute, 90 * time.Minute}
	asked := fetched{rapid.IntRange(0, 3).Draw(t, "missing") == 0, rapid.SampledFrom(limits).Draw(t, "limit")}
	before := d.redis.loads.Load()
	want := d.fake.fetch(newer, key, asked)
	got := d.redis.fetch(newer, key, asked)
	stale := want.loads == before+1 && got.loads == before && got.value == want.value
	for deadline := time.Now().Add(waitTimeout); stale && d.redis.loads.Load() == before && time.Now().Before(deadline); {
		if time.Until(deadline) < waitTimeout/2 {
			d.redis.fetch(newer, key, asked) // the refresh before had not quite ended
		}
		time.Sleep(time.Millisecond)
	}
	got.loads = d.redis.loads.Load()
	d.compare(t, fmt.Sprintf("Fetch of %+v, newer: %v, %+v", key, newer, asked), want, got)
	for deadline := time.Now().Add(waitTimeout); stale && d.fake.get(newer, key) != d.redis.get(newer, key) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

type unexported struct{ number int64 }

func (s *side) fetchUnexported(newer bool, module string) answer {
	value, err := cache.Fetch(context.Background(), s.of(newer), cache.Key{Module: module, Operation: "unexported"},
		func(context.Context) (unexported, error) { return unexported{s.loads.Add(1)}, nil })
	return s.answer(fmt.Sprint(value), err == nil, err)
}

func (d *differential) fetchUnexported(t *rapid.T) {
	newer := d.newer(t)
	d.compare(t, "Fetch of a value that does not survive", d.fake.fetchUnexported(newer, d.module), d.redis.fetchUnexported(newer, d.module))
}

func (d *differential) get(t *rapid.T) {
	newer, key := d.newer(t), d.key(t)
	d.compare(t, fmt.Sprintf("Get of %+v, newer: %v", key, newer), d.fake.get(newer, key), d.redis.get(newer, key))
}

func (d *differential) set(t *rapid.T) {
	newer, key := d.newer(t), d.key(t)
	value := rapid.SampledFrom([]string{"set", "set to something long"}).Draw(t, "value")
	d.both(t, newer, fmt.Sprintf("Set of %+v, newer: %v", key, newer), func(c cache.Cache) error {
		return c.Set(context.Background(), key, value)
	})
}

func (d *differential) invalidate(t *rapid.T) {
	key, ctx := d.key(t), context.Background()
	ways := map[string]func(cache.Cache) error{
		"Delete":              func(c cache.Cache) error { return c.Delete(ctx, key) },
		"InvalidateModule":    func(c cache.Cache) error { return c.InvalidateModule(ctx, key.Module) },
		"InvalidateOperation": func(c cache.Cache) error { return c.InvalidateOperation(ctx, key.Module, key.Operation) },
		"InvalidateUser":      func(c cache.Cache) error { return c.InvalidateUser(ctx, "ada", key.Module) },
		"InvalidateSoftly": func(c cache.Cache) error {
			return c.InvalidateSoftly(ctx, cache.Scope{Module: key.Module, Operation: key.Operation, User: key.User})
		},
		"InvalidateSoftly of the module": func(c cache.Cache) error { return c.InvalidateSoftly(ctx, cache.Scope{Module: key.Module}) },
		"InvalidateSoftly of a user": func(c cache.Cache) error {
			return c.InvalidateSoftly(ctx, cache.Scope{Module: key.Module, User: "ada"})
		},
	}
	names := []string{
		"Delete", "InvalidateModule", "InvalidateOperation", "InvalidateUser",
		"InvalidateSoftly", "InvalidateSoftly of the module", "InvalidateSoftly of a user",
	}
	name := rapid.SampledFrom(names).Draw(t, "way")
	d.both(t, d.newer(t), fmt.Sprintf("%s of %+v", name, key), ways[name])
}

func (d *differential) hold(t *rapid.T) {
	key, ctx := d.key(t), context.Background()
	ways := []cache.Covered{
		key,
		cache.Scope{Module: d.module},
		cache.Scope{Module: d.module, Operation: key.Operation},
		cache.Scope{Module: d.module, User: "ada"},
		cache.Scope{Module: d.module, Operation: key.Operation, User: "ada"},
	}
	on := rapid.SliceOfN(rapid.SampledFrom(ways), 1, 2).Draw(t, "on")
	ofFake, fakeErr := d.fake.Cache.(cache.Holder).Hold(ctx, longHold, on...)
	ofRedis, redisErr := d.redis.Cache.(cache.Holder).Hold(ctx, longHold, on...)
	d.compare(t, fmt.Sprintf("Hold of %+v", on), d.fake.answer("", false, fakeErr), d.redis.answer("", false, redisErr))
	d.holds = append(d.holds, heldByBoth{ofFake, ofRedis})
}

// endHold renews or releases a hold, perhaps once more.
func (d *differential) endHold(t *rapid.T) {
	if len(d.holds) == 0 {
		return
	}
	h := rapid.SampledFrom(d.holds).Draw(t, "hold")
	do := func(h cache.Hold) string { return fmt.Sprint(h.Release(context.Background()), h.Err()) }
	if rapid.IntRange(0, 2).Draw(t, "renew") == 0 {
		do = func(h cache.Hold) string {
			return fmt.Sprint(h.Renew(context.Background(), longHold) == nil, h.Err())
		}
	}
	if fake, redis := do(h.fake), do(h.redis); fake != redis {
		t.Fatalf("ending a hold:\nthe fake says %s\nRedis says    %s", fake, redis)
	}
}

func (d *differential) both(t *rapid.T, newer bool, what string, do func(cache.Cache) error) {
	d.compare(t, what, d.fake.answer("", false, do(d.fake.of(newer))), d.redis.answer("", false, do(d.redis.of(newer))))
}

func (d *differential) compare(t *rapid.T, what string, fake, redis answer) {
	if fake.failure == cache.ErrRefused.Error() && redis.failure == fake.failure || fake == redis {
		return
	}
	t.Fatalf("%s:\nthe fake says %+v\nRedis says    %+v", what, fake, redis)
}

// Whatever is done, an application that is tested with the fake sees what it would see of Redis.
func TestTheFakeAnswersAsRedisDoesWhateverIsDone(t *testing.T) {
	redis := redisSubject(t)
	modules := 0
	rapid.Check(t, func(t *rapid.T) {
		modules++
		d := &differential{fake: &side{subject: fakeSubject()}, redis: &side{subject: redis}, module: fmt.Sprint("module", modules)}
		t.Repeat(map[string]func(*rapid.T){
			"policy": d.setPolicy, "fetch": d.fetch, "fetch again": d.fetch, "fetch once more": d.fetch, "fetch what is unexported": d.fetchUnexported,
			"get": d.get, "set": d.set, "invalidate": d.invalidate,
			"hold": d.hold, "end a hold": d.endHold, "end a hold, too": d.endHold,
		})
	})
}
