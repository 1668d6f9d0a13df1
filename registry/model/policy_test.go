// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/json"
	"maps"
	"slices"
)

// rule is how the entries of an operation are cached, in milliseconds and bytes.
type rule struct {
	TTL       int64
	Stale     int64
	Negative  int64
	Jitter    int64
	UsersOnly bool
	MaxBytes  int64
	Lag       int64 // 0: that of the policy; -1: none
}

const mostBytes = 67108864

func (r rule) life() int64 { return r.TTL + r.Stale }

// policy is a policy document, as a sequence names it.
type policy struct {
	Revision   string
	Default    int64 // 0: none
	Lag        int64
	Operations map[string]rule
}

// document writes the JSON of a policy, always the same for the same one.
func (p policy) document() string {
	document := map[string]any{}
	if p.Revision != "" {
		document["revision"] = p.Revision
	}
	if p.Default > 0 {
		document["defaultTtlMs"] = p.Default
	}
	if p.Lag > 0 {
		document["sourceLagMs"] = p.Lag
	}
	list := make([]map[string]any, 0, len(p.Operations))
	for _, name := range slices.Sorted(maps.Keys(p.Operations)) {
		r := p.Operations[name]
		operation := map[string]any{"name": name, "ttlMs": r.TTL}
		for field, value := range map[string]int64{
			"staleForMs": r.Stale, "negativeTtlMs": r.Negative, "jitterPercent": r.Jitter, "maxEntryBytes": r.MaxBytes,
		} {
			if value > 0 {
				operation[field] = value
			}
		}
		if r.UsersOnly {
			operation["scope"] = "User"
		}
		if r.Lag != 0 {
			operation["sourceLagMs"] = max(0, r.Lag)
		}
		list = append(list, operation)
	}
	document["operations"] = list
	text, err := json.Marshal(document)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// rule returns the rule of an operation; the zero value where it is not cached.
func (p policy) rule(op string) rule {
	r, listed := p.Operations[op]
	if !listed {
		r = rule{TTL: p.Default}
	}
	if r.TTL == 0 {
		return rule{}
	}
	if r.MaxBytes == 0 {
		r.MaxBytes = mostBytes
	}
	return r
}

// policyState is what a slot has of a policy.
type policyState struct {
	there      bool
	text       string
	revision   string // the last that was not empty
	remembered bool   // it was evicted, and Redis may still go by it
	policy     policy
	operations map[string]rule
}

// cached says of an operation whether it is cached: for sure, or possibly.
func (p policyState) cached(op string) (certain, possible bool) {
	is := p.policy.rule(op).TTL > 0
	return p.there && is, (p.there || p.remembered) && is
}

func (s *state) put(p policy) {
	revision := p.Revision
	if revision == "" {
		revision = s.policy.revision
	}
	s.policy = policyState{there: true, text: p.document(), revision: revision, policy: p, operations: p.Operations}
}
