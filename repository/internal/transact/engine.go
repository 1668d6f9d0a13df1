// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package transact runs functions in transactions that hold in the cache what they change.
package transact

import (
	"database/sql"
	"errors"
	"sync/atomic"
	"time"

	"github.com/cachewright/cachewright/repository/internal/dialect"
	"github.com/cachewright/cachewright/repository/internal/fault"
	"github.com/cachewright/cachewright/repository/internal/guard"
	"github.com/cachewright/cachewright/repository/internal/outbox"
)

// Errors of package repository, which documents them.
var (
	ErrOutcomeUnknown = errors.New("nobody knows whether the transaction is committed")
	ErrUnprotected    = errors.New("the cache cannot be kept from storing what was before the change")
	ErrOver           = errors.New("the transaction is over")
	ErrNoTransaction  = errors.New("the context has no transaction")
)

// Config says what an Engine works with. Pool, Dialect and Warn are needed.
type Config struct {
	Pool    *sql.DB
	Dialect dialect.Dialect
	// Keeper holds what transactions touch. Nil: there is no cache.
	Keeper *guard.Keeper
	// Outbox gets a row of each transaction. Nil: there is none.
	Outbox *outbox.Box
	// Hold is for how long a hold lasts, and Longest for how long one can.
	Hold, Longest time.Duration
	// Refuse says not to commit what cannot be held.
	Refuse bool
	// Warn is told why something could not be held. It must not block.
	Warn func(error)
}

// Options of one transaction.
type Options struct {
	Isolation sql.IsolationLevel
	ReadOnly  bool
	Attempts  int // 0: not set
	Savepoint bool
}

// Counts says what became of transactions.
type Counts struct {
	Committed, RolledBack, Retries, OutcomeUnknown, Unprotected atomic.Int64
}

// Engine runs transactions of one database. It is safe for concurrent use.
type Engine struct {
	Counts Counts

	config Config
}

// New returns an Engine.
func New(config Config) *Engine { return &Engine{config: config} }

// Typed returns an error of the driver as what it means.
func (e *Engine) Typed(err error) error { return fault.Typed(err, e.config.Dialect.Fault) }

// isConflict says whether a transaction that failed so may succeed when it runs again.
func (e *Engine) isConflict(err error) bool {
	return e.config.Dialect.Fault(err).Class == fault.Conflict
}
