// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/repository/internal/fault"
	"github.com/cachewright/cachewright/repository/internal/transact"
	"github.com/cachewright/cachewright/repository/internal/watch"
)

// Errors of this package, for errors.Is. They wrap the error of the driver, for errors.As.
var (
	// ErrNotFound: a query that must find a row found none. It is cache.ErrNotFound, so that Fetch can
	// keep it as a negative entry.
	ErrNotFound = cache.ErrNotFound
	// ErrConflict: another transaction was in the way. Each attempt of InTx ended in a deadlock or a
	// serialization failure, or a lock was not free in time. Nothing was committed.
	ErrConflict = fault.ErrConflict
	// ErrConstraint: a constraint of the schema does not allow the change. The error is a
	// *ConstraintError.
	ErrConstraint = fault.ErrConstraint
	// ErrOutcomeUnknown: the connection was lost in COMMIT, and the database cannot tell what became
	// of the transaction. It may be committed. InTx does not run it again, and neither should you,
	// unless it may run twice.
	ErrOutcomeUnknown = transact.ErrOutcomeUnknown
	// ErrUnprotected: the cache is away, so nothing kept readers from caching what the transaction
	// changes. Under OnCacheAway(Refuse) it was rolled back.
	ErrUnprotected = transact.ErrUnprotected
	// ErrOver: the transaction has ended, or will be rolled back. Nothing was executed.
	ErrOver = transact.ErrOver
	// ErrNoTransaction: the context is not one that InTx gave to its function.
	ErrNoTransaction = transact.ErrNoTransaction
	// ErrPoolBusy: a probe of a Monitor got no connection in time, because all that the pool may have
	// are in use. The database may be well.
	ErrPoolBusy = watch.ErrPoolBusy
)

// ConstraintError says what kind of constraint does not allow a change: Kind. It is ErrConstraint,
// for errors.Is, and wraps the error of the driver.
type ConstraintError = fault.ConstraintError

// ConstraintKind is what a constraint demands.
type ConstraintKind = fault.Kind

// The kinds of constraints.
const (
	KindUnique     = fault.Unique // also of a primary key
	KindForeignKey = fault.ForeignKey
	KindNotNull    = fault.NotNull
	KindCheck      = fault.Check
	KindExclusion  = fault.Exclusion // PostgreSQL only
	KindOther      = fault.OtherKind
)

// Typed returns an error of a driver as one of the errors of this package, which wraps it. Any
// other error is returned as it is. InTx and Fetch return such errors. Use Typed for what other
// statements return.
func (d *DB) Typed(err error) error { return d.engine.Typed(err) }
