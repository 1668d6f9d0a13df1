// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package policydoc writes and reads the document of a policy, as docs/protocol.md specifies it.
package policydoc

import (
	"crypto/sha1" //nolint:gosec // names content, as Redis' own redis.sha1hex does; guards nothing
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"github.com/cachewright/cachewright/registry/internal/bounds"
)

// Policy says how the operations of a module are cached. Its fields are those of registry.Policy.
type Policy struct {
	Revision   string
	DefaultTTL *time.Duration
	SourceLag  time.Duration
	Operations []Operation
}

// Operation says how one operation is cached. Its fields are those of registry.OperationPolicy.
type Operation struct {
	Name          string
	TTL           time.Duration
	StaleFor      time.Duration
	NegativeTTL   time.Duration
	JitterPercent int
	Scope         Scope
	MaxEntryBytes int64
	LocalTTL      *time.Duration
	SourceLag     *time.Duration
}

// Scope says whether the entries of the operation belong to users. Package registry exports and
// documents it.
type Scope string

const (
	// maxOperations is more than a policy may have.
	maxOperations    = 1000
	maxJitterPercent = 50
)

// Hash identifies the content of the policy: that of its document.
func (p Policy) Hash() string {
	sum := sha1.Sum(p.Document()) //nolint:gosec // see the import
	return hex.EncodeToString(sum[:])
}

// policyDocument is the JSON of the protocol.
type policyDocument struct {
	Revision     string              `json:"revision,omitempty"`
	DefaultTTLMs *int64              `json:"defaultTtlMs,omitempty"`
	SourceLagMs  int64               `json:"sourceLagMs,omitempty"`
	Operations   []operationDocument `json:"operations,omitempty"`
}

type operationDocument struct {
	Name          string `json:"name"`
	TTLMs         int64  `json:"ttlMs"`
	StaleForMs    int64  `json:"staleForMs,omitempty"`
	NegativeTTLMs int64  `json:"negativeTtlMs,omitempty"`
	JitterPercent int    `json:"jitterPercent,omitempty"`
	Scope         Scope  `json:"scope,omitempty"`
	MaxEntryBytes int64  `json:"maxEntryBytes,omitempty"`
	LocalTTLMs    *int64 `json:"localTtlMs,omitempty"`
	SourceLagMs   *int64 `json:"sourceLagMs,omitempty"`
}

// Document returns the JSON of the policy.
func (p Policy) Document() []byte {
	document := policyDocument{
		Revision:     p.Revision,
		DefaultTTLMs: optional(p.DefaultTTL, bounds.WholeMilliseconds),
		SourceLagMs:  bounds.WholeMilliseconds(p.SourceLag),
	}
	for _, o := range p.Operations {
		document.Operations = append(document.Operations, operationDocument{
			Name:          o.Name,
			TTLMs:         bounds.WholeMilliseconds(o.TTL),
			StaleForMs:    bounds.WholeMilliseconds(o.StaleFor),
			NegativeTTLMs: bounds.WholeMilliseconds(o.NegativeTTL),
			JitterPercent: o.JitterPercent,
			Scope:         o.Scope,
			MaxEntryBytes: o.MaxEntryBytes,
			LocalTTLMs:    optional(o.LocalTTL, bounds.WholeMilliseconds),
			SourceLagMs:   optional(o.SourceLag, bounds.WholeMilliseconds),
		})
	}
	text, err := json.Marshal(document)
	if err != nil { // strings and integers always marshal
		panic("registry: marshalling a policy: " + err.Error())
	}
	return text
}

// optional converts a value that may be nil.
func optional[From, To any](value *From, convert func(From) To) *To {
	if value == nil {
		return nil
	}
	return new(convert(*value))
}

// Parse parses a document, which somebody may have edited in Redis.
func Parse(text string) (policy Policy, ok bool) {
	var document policyDocument
	if err := json.Unmarshal([]byte(text), &document); err != nil || !document.isPlausible() {
		return Policy{}, false
	}
	policy = Policy{
		Revision: document.Revision, DefaultTTL: optional(document.DefaultTTLMs, bounds.Milliseconds),
		SourceLag: bounds.Milliseconds(document.SourceLagMs),
	}
	for _, o := range document.Operations {
		policy.Operations = append(policy.Operations, Operation{
			Name:          o.Name,
			TTL:           bounds.Milliseconds(o.TTLMs),
			StaleFor:      bounds.Milliseconds(o.StaleForMs),
			NegativeTTL:   bounds.Milliseconds(o.NegativeTTLMs),
			JitterPercent: o.JitterPercent,
			Scope:         o.Scope,
			MaxEntryBytes: o.MaxEntryBytes,
			LocalTTL:      optional(o.LocalTTLMs, bounds.Milliseconds),
			SourceLag:     optional(o.SourceLagMs, bounds.Milliseconds),
		})
	}
	return policy, true
}

func (d policyDocument) isPlausible() bool {
	if len(d.Operations) > maxOperations || len(d.Revision) > bounds.MaxNameBytes ||
		!isTTL(d.DefaultTTLMs) || !isTTL(&d.SourceLagMs) {
		return false
	}
	return !slices.ContainsFunc(d.Operations, func(o operationDocument) bool {
		return !bounds.IsOperationName(o.Name) || !isTTL(&o.TTLMs) || !isTTL(&o.StaleForMs) ||
			!isTTL(&o.NegativeTTLMs) || !isTTL(o.LocalTTLMs) || !isTTL(o.SourceLagMs) ||
			o.JitterPercent < 0 || o.JitterPercent > maxJitterPercent || !bounds.IsCount(o.MaxEntryBytes)
	})
}

// isTTL says whether a number of milliseconds can be a TTL; nil: there is none.
func isTTL(ms *int64) bool { return ms == nil || *ms >= 0 && *ms <= bounds.MaxTTL.Milliseconds() }
