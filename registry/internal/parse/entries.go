// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package parse

import (
	"fmt"
	"time"

	"github.com/cachewright/cachewright/registry/internal/bounds"
)

// Lookup is the answer to a read. Its fields are those of registry.Lookup.
type Lookup struct {
	Hit       bool
	Payload   []byte
	Negative  bool
	Stale     bool
	Remaining time.Duration
	Token     Token
	Wait      time.Duration
	Cacheable bool
	Held      time.Duration
}

// The first field of replies of cw_get.
const (
	replyMiss     = int64(0)
	replyHit      = int64(1)
	replyNegative = int64(2)
)

// LookupOf reads a reply of cw_get.
func LookupOf(reply any) (Lookup, bool) {
	fields, _ := reply.([]any)
	if len(fields) < 2 {
		return Lookup{}, false
	}
	text, isText := fields[1].(string)
	switch {
	case !isText:
		return Lookup{}, false
	case fields[0] == replyMiss:
		lookup := Lookup{Token: Token(text), Cacheable: Token(text) != noLease}
		if len(fields) > 2 {
			wait, _ := fields[2].(int64)
			lookup.Wait = bounds.Lifetime(wait)
		}
		if len(fields) > 3 {
			held, _ := fields[3].(int64)
			lookup.Held = bounds.Lifetime(held)
		}
		return lookup, true
	case len(fields) >= 4 && (fields[0] == replyHit || fields[0] == replyNegative):
		remaining, _ := fields[2].(int64)
		lookup := Lookup{
			Hit:       true,
			Payload:   []byte(text),
			Negative:  fields[0] == replyNegative,
			Stale:     fields[3] == int64(1),
			Remaining: bounds.Lifetime(remaining),
		}
		if len(fields) > 4 {
			token, _ := fields[4].(string)
			lookup.Token, lookup.Cacheable = Token(token), true
		}
		return lookup, true
	default:
		return Lookup{}, false
	}
}

// Outcome of a fill. Package registry exports and documents it.
type Outcome int

// The outcomes of fills.
const (
	Stored Outcome = iota + 1
	Disabled
	Fenced
	Refused
)

// String returns the outcome in lower case.
func (o Outcome) String() string {
	switch o {
	case Stored:
		return "stored"
	case Disabled:
		return "disabled"
	case Fenced:
		return "fenced"
	case Refused:
		return "refused"
	default:
		return fmt.Sprintf("outcome %d", int(o))
	}
}

// Filled is the answer to a fill. Its fields are those of registry.Filled.
type Filled struct {
	Outcome Outcome
	TTL     time.Duration
}

// FilledOf reads a reply of cw_set.
func FilledOf(reply any) (Filled, bool) {
	code, ok := reply.(int64)
	switch {
	case !ok || code < -2 || code > bounds.MaxTTL.Milliseconds():
		return Filled{}, false
	case code == 0:
		return Filled{Outcome: Disabled}, true
	case code == -1:
		return Filled{Outcome: Fenced}, true
	case code == -2:
		return Filled{Outcome: Refused}, true
	default:
		return Filled{Outcome: Stored, TTL: bounds.Milliseconds(code)}, true
	}
}
