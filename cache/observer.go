// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import "context"

// Observer sees what a Client does, for metrics and traces: see WithObserver. Package cacheotel has
// one for OpenTelemetry. It gets the names of modules and operations, never ids, users or values.
//
// Requests call its methods, so they must be quick, and safe for concurrent use. Those named Start…
// return the context to go on with, and a function that is called once, at the end.
type Observer interface {
	// Watch is called once, by New, with a function that returns the current figures of the Client.
	// Close calls the function that Watch returns. After that, the figures must not be asked for.
	Watch(namespace string, figures func() Figures) (stop func())
	// StartRequest is called for each Fetch and Get, and for each key of a FetchMany. The error is
	// what the caller gets. It is nil after a Get that found nothing. The loads of a FetchMany get the
	// context of its first key.
	StartRequest(ctx context.Context, request Request) (context.Context, func(Outcome, error))
	// StartLoad is called for each call of a loader: for a caller, to refresh an entry, or to audit
	// one. For a loader of many entries it is called once for each of their operations.
	StartLoad(ctx context.Context, module, operation string) (context.Context, func(error))
	// StartInvalidation is called for each invalidation by the application. The error is what it
	// gets.
	StartInvalidation(ctx context.Context, invalidation Invalidation) (context.Context, func(error))
	// Filled is called for each attempt to store an entry.
	Filled(ctx context.Context, module, operation string, fill Fill)
	// Audited is called with the result of each audit.
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
	VerbFetch     Verb = "fetch"
	VerbFetchMany Verb = "fetch_many"
	VerbGet       Verb = "get"
)

// Outcome says where the answer to a Request came from.
type Outcome string

const (
	// OutcomeHit: a fresh entry in Redis, or one that says that the source has nothing.
	OutcomeHit Outcome = "hit"
	// OutcomeNearHit: an entry in the process' own memory, or one that says that the source has
	// nothing.
	OutcomeNearHit Outcome = "near_hit"
	// OutcomeStale: an entry past its TTL, or invalidated softly, that may still be served.
	OutcomeStale Outcome = "stale"
	// OutcomeMiss: there was no entry, so this process or another one loaded it.
	OutcomeMiss Outcome = "miss"
	// OutcomeBypass: the cache was not used. Either the policy does not cache the operation, or an
	// invalidation that covers the entry waits for Redis.
	OutcomeBypass Outcome = "bypass"
	// OutcomeHeld: a hold forbids to store the entry, so it was loaded.
	OutcomeHeld Outcome = "held"
	// OutcomeError: the cache could not be used. Either Redis failed, the params cannot name an
	// entry, or the caller's time had ended.
	OutcomeError Outcome = "error"
)

// Fill says what happened to a value that was to be stored.
type Fill string

const (
	// FillStored: the entry is in place.
	FillStored Fill = "stored"
	// FillDisabled: the policy does not cache the operation, or not that the source has nothing.
	FillDisabled Fill = "disabled"
	// FillFenced: there was an invalidation between the load and the fill.
	FillFenced Fill = "fenced"
	// FillRefused: a limit or the scope of the policy forbids the entry.
	FillRefused Fill = "refused"
	// FillError: Redis failed.
	FillError Fill = "error"
)

// Invalidation is what the application asked for.
type Invalidation struct {
	// Module is its module. An invalidation of several modules is observed as one for each.
	Module string
	// Operation is empty if it covers all operations of the module.
	Operation string
	Extent    Extent
	// Soft: entries become stale.
	Soft bool
}

// Extent says what an Invalidation covers in a module.
type Extent string

const (
	// ExtentModule is all entries of a module.
	ExtentModule Extent = "module"
	// ExtentOperation is those of one operation.
	ExtentOperation Extent = "operation"
	// ExtentUser is those of one user, in one operation or in all.
	ExtentUser Extent = "user"
	// ExtentEntry is one entry.
	ExtentEntry Extent = "entry"
)

// Figures are what a Client holds at a moment.
type Figures struct {
	// NearEntries and NearBytes are what the near cache keeps. The bytes are estimated as for its
	// bounds.
	NearEntries int
	NearBytes   int64
	// QueuedInvalidations have not reached Redis yet. What releases of holds cover is among them.
	QueuedInvalidations int
	// HoldsLost is how many holds of this Client did not last until they were released. They ended
	// before, Redis lost marks of them, or more than 64 holds covered the same.
	HoldsLost int64
	// Breakers of the modules for which Redis was called, in no order.
	Breakers []BreakerFigure
}

// BreakerFigure is one circuit breaker. Each module has one for reads, one for fills, which take
// memory, and one for other writes.
type BreakerFigure struct {
	Module string
	Writes bool
	Fills  bool
	// Open: Redis did not serve lately, and is not called for now.
	Open bool
}
