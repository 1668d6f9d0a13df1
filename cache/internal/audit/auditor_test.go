// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/cache/internal/operations"
)

type jsonCodec struct{}

func (jsonCodec) Marshal(value any) ([]byte, error)     { return json.Marshal(value) }
func (jsonCodec) Unmarshal(data []byte, dest any) error { return json.Unmarshal(data, dest) }

// An entry in memory was not live for the whole grace if that was cut short, whatever the loader
// does with its context.
func TestCloseIsNoEvidenceAgainstWhatIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{Codec: jsonCodec{}, LoadTimeout: time.Minute})
		load := func(context.Context) (any, error) { return "new", nil }
		ctx, end := context.WithCancel(t.Context())
		audited := make(chan Result, 1)
		go func() {
			audited <- a.audit(ctx, &Rule{Grace: time.Hour}, immortal{}, reflect.TypeFor[string](), load)
		}()
		synctest.Wait()
		end() // as Close does
		if got := <-audited; got != Inconclusive {
			t.Errorf("an audit that Close ended is %s", got)
		}
	})
}

// immortal is an entry that was served and stays live.
type immortal struct{}

func (immortal) live(context.Context) bool         { return true }
func (immortal) negative() bool                    { return false }
func (immortal) decoded(reflect.Type) (any, error) { return "cached", nil }

// The first rule that covers an operation says how many of its hits are audited.
func TestAuditsAreDrawnByOperation(t *testing.T) {
	s := newSampler(Rules{
		{Share: 0.5, Operations: operations.Set{{Module: "users", Name: "get"}}},
		{Share: 1, Operations: operations.Set{{Module: "orders"}}},
		{Share: 0.1},
	})
	const draws = 20_000
	for operation, want := range map[operations.Operation]float64{
		{Module: "users", Name: "get"}:   0.5,
		{Module: "users", Name: "list"}:  0.1,
		{Module: "orders", Name: "get"}:  1,
		{Module: "orders", Name: "list"}: 1,
	} {
		drawn := 0
		for range draws {
			if s.draw(operation) != nil {
				drawn++
			}
		}
		if got := float64(drawn) / draws; got < 0.8*want || got > 1.2*want {
			t.Errorf("%v: %v were drawn, want %v", operation, got, want)
		}
	}
	if newSampler(nil).draw(operations.Operation{Module: "users", Name: "get"}) != nil {
		t.Error("a hit was drawn without a rule")
	}
}

func TestAuditsAreCountedByOperationWithinBounds(t *testing.T) {
	s := newSampler(Rules{{Share: 1}})
	for i := range 2 * maxAuditedOperations {
		s.count(operations.Operation{Module: "users", Name: strings.Repeat("x", i)}, Inconsistent)
	}
	s.count(operations.Operation{Module: "users", Name: "x"}, Consistent)
	all := s.stats()
	if len(all) != maxAuditedOperations {
		t.Errorf("%d operations are counted, want %d", len(all), maxAuditedOperations)
	}
	if got, want := all[1], (Stats{Operation: operations.Operation{Module: "users", Name: "x"}, Consistent: 1, Inconsistent: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
