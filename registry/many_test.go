// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
)

// sentCommands counts what a client sends: commands of their own, and pipelines.
type sentCommands struct{ mgets, pipelines, others atomic.Int64 }

func (*sentCommands) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *sentCommands) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "mget" {
			s.mgets.Add(1)
		} else {
			s.others.Add(1)
		}
		return next(ctx, cmd)
	}
}

func (s *sentCommands) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		s.pipelines.Add(1)
		return next(ctx, cmds)
	}
}

func (s *sentCommands) want(t *testing.T, mgets, pipelines int64) {
	t.Helper()
	got := [...]int64{s.mgets.Swap(0), s.pipelines.Swap(0), s.others.Swap(0)}
	if got != [...]int64{mgets, pipelines, 0} {
		t.Errorf("%v MGETs, pipelines and other commands; want %d, %d and none", got, mgets, pipelines)
	}
}

// manyKeys are of three operations, shared and of two users, with and without a schema.
func manyKeys(count int) []Key {
	keys := make([]Key, count)
	for i := range keys {
		keys[i] = entry(fmt.Sprint("op", i%3), fmt.Sprint(i), []string{"", "u1", "u2", ""}[i%4])
		keys[i].Schema = []string{"", "", "v2"}[i/3%3]
	}
	return keys
}

// Whatever state an entry is in, a call about many answers as the calls about each do.
func TestManyEntriesAreReadAsEachAlone(t *testing.T) {
	r, client := newRegistry(t)
	operations := make([]OperationPolicy, 3)
	for i := range operations {
		operations[i] = OperationPolicy{
			Name: fmt.Sprint("op", i), TTL: time.Hour, NegativeTTL: time.Hour, StaleFor: time.Hour,
		}
	}
	apply(t, r, users, Policy{Operations: operations})
	keys := manyKeys(120)
	for i, key := range keys {
		lookup := leaseLocked(t, r, key)
		switch i % 7 {
		case 0: // in no state: a miss, with a lock
		case 1:
			if _, err := r.SetNegative(t.Context(), key, nil, lookup.Token); err != nil {
				t.Fatal(err)
			}
		case 2:
			if err := r.Unlock(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		default:
			if _, err := r.Set(t.Context(), key, []byte(payloadOf(key)), lookup.Token); err != nil {
				t.Fatal(err)
			}
		}
		switch i % 7 {
		case 3:
			key.Schema = "other"
			keys[i] = key
		case 4:
			if _, err := r.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		case 5:
			if _, err := r.Hold(t.Context(), users, NewHoldID(), time.Minute, HoldEntry(key)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := r.Invalidate(t.Context(), users, Scope{User: "u2"}, ModeSoft, ""); err != nil {
		t.Fatal(err)
	}
	wants, wantLocked := make([]Lookup, len(keys)), make([]bool, len(keys))
	states := map[string]int{}
	for i, key := range keys {
		var err error
		if wants[i], wantLocked[i], err = r.ReadLocked(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		states[fmt.Sprint(wants[i].Hit, wants[i].Negative, wants[i].Stale, wantLocked[i])]++
	}
	if len(states) < 6 {
		t.Errorf("only the states %v", states)
	}
	sent := &sentCommands{}
	client.AddHook(sent)
	lookups, err := r.ReadMany(t.Context(), keys)
	sent.want(t, 1, 0)
	again, locked, lockedErr := r.ReadManyLocked(t.Context(), keys)
	sent.want(t, 1, 0)
	if err := errors.Join(err, lockedErr); err != nil {
		t.Fatal(err)
	}
	for i := range keys {
		// It is measured by the clock.
		for _, found := range []*Lookup{&wants[i], &lookups[i], &again[i]} {
			found.Remaining = found.Remaining.Round(time.Hour)
		}
		if !reflect.DeepEqual(lookups[i], wants[i]) || !reflect.DeepEqual(again[i], wants[i]) || locked[i] != wantLocked[i] {
			t.Errorf("%d: %+v and %+v, locked: %t; alone %+v, locked: %t", i, lookups[i], again[i], locked[i], wants[i], wantLocked[i])
		}
	}
	leased := r.LeaseMany(t.Context(), keys, lockTime)
	sent.want(t, 0, 1)
	for i, want := range wants {
		got := leased[i]
		if got.Err != nil || got.Hit != want.Hit || got.Negative != want.Negative || string(got.Payload) != string(want.Payload) ||
			(got.Wait > 0) != wantLocked[i] || (got.Held > 0) != (i%7 == 5) {
			t.Errorf("%d: leased %+v; read %+v, locked: %t", i, got, want, wantLocked[i])
		}
	}
}

func TestManyEntriesAreFilledUnlockedAndDeletedInOnePipeline(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, Policy{DefaultTTL: new(time.Hour), Operations: []OperationPolicy{
		{Name: "op0", TTL: time.Hour, NegativeTTL: time.Hour, MaxEntryBytes: 100}, {Name: "op1"}, {Name: "op2", TTL: time.Hour},
	}})
	keys := manyKeys(inOnePipeline)
	sent := &sentCommands{}
	client.AddHook(sent)
	if err := client.FunctionFlush(t.Context()).Err(); err != nil { // so that the library must be loaded
		t.Fatal(err)
	}
	leased := r.LeaseMany(t.Context(), keys, lockTime)
	fills := make([]Fill, len(keys))
	wants := make([]Outcome, len(keys))
	for i, key := range keys {
		fills[i] = Fill{Key: key, Payload: []byte(payloadOf(key)), Token: leased[i].Token, Options: FillOptions{Negative: i%2 == 1}}
		switch {
		case key.Operation == "op1", key.Operation == "op2" && fills[i].Options.Negative:
			wants[i] = Disabled
		case i == 6:
			fills[i].Payload = make([]byte, 101)
			wants[i] = Refused
		default:
			wants[i] = Stored
		}
	}
	if _, err := r.Delete(t.Context(), keys[12]); err != nil {
		t.Fatal(err)
	}
	wants[12] = Fenced
	fills[18].Key.Schema = strings.Repeat("s", 65) // it cannot be sent
	sent.mgets.Store(0)
	sent.others.Store(0)
	sent.pipelines.Store(0)
	for i, result := range r.SetMany(t.Context(), fills) {
		if i == 18 {
			if !errors.Is(result.Err, ErrRejected) {
				t.Errorf("with a schema that is too long: %v", result.Err)
			}
		} else if result.Err != nil || result.Outcome != wants[i] {
			t.Errorf("%d: %v, %v; want %v", i, result.Outcome, result.Err, wants[i])
		}
	}
	sent.want(t, 0, 1)
	if err := errors.Join(r.UnlockMany(t.Context(), keys)...); err != nil {
		t.Error(err)
	}
	sent.want(t, 0, 1)
	_, locked, err := r.ReadManyLocked(t.Context(), keys)
	if err != nil {
		t.Fatal(err)
	}
	sent.want(t, 1, 0)
	if err := errors.Join(r.DeleteMany(t.Context(), keys)...); err != nil {
		t.Error(err)
	}
	sent.want(t, 0, 1)
	for i, key := range keys {
		if isHit(t, r, key) || locked[i] {
			t.Errorf("%q is still there, or locked: %t", key, locked[i])
		}
	}
	if !isFenced(t, r, fills[0]) {
		t.Error("a load that was under way is stored after the deletion")
	}
}

const inOnePipeline = 128

func isFenced(t *testing.T, r *Registry, fill Fill) bool {
	t.Helper()
	filled, err := r.Set(t.Context(), fill.Key, fill.Payload, fill.Token)
	return err == nil && filled.Outcome == Fenced
}

func TestEntriesOfSeveralSlotsAreNotReadTogether(t *testing.T) {
	r, _ := newRegistry(t)
	keys := []Key{entry("list", "1", ""), {Slot: Slot{Namespace: "shop", Module: "posts"}, Operation: "list", ID: "1"}}
	_, err := r.ReadMany(t.Context(), keys)
	_, _, lockedErr := r.ReadManyLocked(t.Context(), keys)
	if !errors.Is(err, ErrRejected) || !errors.Is(lockedErr, ErrRejected) {
		t.Errorf("%v, %v", err, lockedErr)
	}
	if none, err := r.ReadMany(t.Context(), nil); err != nil || len(none) != 0 {
		t.Errorf("without keys: %v, %v", none, err)
	}
}

// In a cluster the slots of one call are on different nodes.
func TestManyEntriesOfACluster(t *testing.T) {
	cluster := redistest.StartCluster(t, 3)
	client := cluster.Client()
	r := registryOn(t, client)
	var keys []Key
	for m := range 10 {
		slot := Slot{Namespace: "shop", Module: fmt.Sprint("m", m)}
		apply(t, r, slot, caching())
		for i := range 30 {
			keys = append(keys, Key{Slot: slot, Operation: "list", ID: fmt.Sprint(i)})
		}
	}
	var fills []Fill
	for i, leased := range r.LeaseMany(t.Context(), keys, 0) {
		if leased.Err != nil || leased.Hit {
			t.Fatalf("%v: %+v", keys[i], leased)
		}
		fills = append(fills, Fill{Key: keys[i], Payload: []byte(payloadOf(keys[i])), Token: leased.Token})
	}
	for i, filled := range r.SetMany(t.Context(), fills) {
		if filled.Err != nil || filled.Outcome != Stored {
			t.Fatalf("%v: %+v", keys[i], filled)
		}
	}
	for from := 0; from < len(keys); from += 30 {
		lookups, err := r.ReadMany(t.Context(), keys[from:from+30])
		if err != nil {
			t.Fatal(err)
		}
		for i, lookup := range lookups {
			if string(lookup.Payload) != payloadOf(keys[from+i]) {
				t.Errorf("%v: %+v", keys[from+i], lookup)
			}
		}
	}
	if err := errors.Join(r.DeleteMany(t.Context(), keys)...); err != nil {
		t.Error(err)
	}
	if lookups, err := r.ReadMany(t.Context(), keys[:30]); err != nil || lookups[0].Hit || lookups[29].Hit {
		t.Errorf("after the deletion: %v, %v", lookups, err)
	}
}
