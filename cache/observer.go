// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import "context"

// Observer is told what a Client does, for metrics and traces: see WithObserver. Package cacheotel has one for
// OpenTelemetry. It learns the names of modules and operations, never ids, users or values.
//
// Its methods are called on the way of requests, so they must be quick, and safe for concurrent use. Those that
// are named Start… return the context to go on with, and a function that is called once, at the end.
type Observer interface {
	// Watch is called once, by New, with a function that returns the present figures of the Client. Close
	// calls the function returned; after that the figures are not to be asked for.
	Watch(namespace string, figures func() Figures) (stop func())
	// StartRequest is told of each Fetch and Get. The error is what the caller gets; nil after a Get that
	// found nothing.
	StartRequest(ctx context.Context, request Request) (context.Context, func(Outcome, error))
	// StartLoad is told of each call of a loader: for a caller, to refresh an entry, or to audit one.
	StartLoad(ctx context.Context, module, operation string) (context.Context, func(error))
	// StartInvalidation is told of each invalidation that the application asked for. The error is what it gets.
	StartInvalidation(ctx context.Context, invalidation Invalidation) (context.Context, func(error))
	// Filled is told of each attempt to store an entry.
	Filled(ctx context.Context, module, operation string, fill Fill)
	// Audited is told what an audit found.
	Audited(ctx context.Context, module, operation string, result AuditResult)
}

// Request is a read by the application.
type Request struct {
	Verb      Verb
	Module    string
	Operation string
}

// Verb is the method of Cache that was called.
type Verb string

// The verbs that read.
const (
	VerbFetch Verb = "fetch"
	VerbGet   Verb = "get"
)

// Outcome says where the answer to a Request came from.
type Outcome string

const (
	// OutcomeHit: a fresh entry in Redis; also one that says that the source has nothing.
	OutcomeHit Outcome = "hit"
	// OutcomeNearHit: an entry in the process' own memory; also one that says that the source has nothing.
	OutcomeNearHit Outcome = "near_hit"
	// OutcomeStale: an entry past its TTL, or invalidated softly, that may be served still.
	OutcomeStale Outcome = "stale"
	// OutcomeMiss: there was no entry, so it was loaded, here or by another process.
	OutcomeMiss Outcome = "miss"
	// OutcomeBypass: the cache was not to be used: the policy does not cache the operation, or an
	// invalidation that covers the entry waits for Redis.
	OutcomeBypass Outcome = "bypass"
	// OutcomeError: the cache could not be used: Redis failed, the params cannot name an entry, or the caller's
	// time had ended.
	OutcomeError Outcome = "error"
)

// Fill says what became of a value that was to be stored.
type Fill string

const (
	// FillStored: the entry is in place.
	FillStored Fill = "stored"
	// FillDisabled: the policy does not cache the operation, or not that the source has nothing.
	FillDisabled Fill = "disabled"
	// FillFenced: an invalidation came between the load and the fill.
	FillFenced Fill = "fenced"
	// FillRefused: a limit or the scope of the policy forbids the entry.
	FillRefused Fill = "refused"
	// FillError: Redis failed.
	FillError Fill = "error"
)

// Invalidation is what the application asked for.
type Invalidation struct {
	// Module of which it is. An invalidation of several modules is one of each.
	Module string
	// Operation is empty where it is all of the module's.
	Operation string
	Extent    Extent
	// Soft: entries become stale.
	Soft bool
}

// Extent says what of a module an Invalidation covers.
type Extent string

const (
	// ExtentModule is all entries of a module.
	ExtentModule Extent = "module"
	// ExtentOperation is those of one operation.
	ExtentOperation Extent = "operation"
	// ExtentUser is those of one user, of one operation or of all.
	ExtentUser Extent = "user"
	// ExtentEntry is one entry.
	ExtentEntry Extent = "entry"
)

// Figures are what a Client holds at a moment.
type Figures struct {
	// NearEntries and NearBytes are what the near cache keeps; the bytes are reckoned as for its bounds.
	NearEntries int
	NearBytes   int64
	// QueuedInvalidations could not reach Redis yet.
	QueuedInvalidations int
	// Breakers of the modules that Redis was asked about, in no order.
	Breakers []BreakerFigure
}

// BreakerFigure is one circuit breaker: each module has one for reads, one for fills, which take memory, and one for
// other writes.
type BreakerFigure struct {
	Module string
	Writes bool
	Fills  bool
	// Open: Redis did not serve lately, and is left alone for now.
	Open bool
}
