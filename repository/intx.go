// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"fmt"
)

// InTx runs fn in a transaction, and commits it if fn returns nil. Statements run in it through
// Querier with the context that fn gets. Each error and each panic of fn rolls it back; the panic
// goes on. One goroutine at a time may use the context.
//
// # Conflicts
//
// If the database ends the transaction for a deadlock or a serialization failure, fn runs again, up
// to Attempts. So fn must not do what must happen once: see AfterCommit. Errors of the database are
// those of this package, and fn must wrap (%w) what it passes on.
//
// # The cache
//
// With WithCache, InTx holds what fn touched from before COMMIT until its outcome is known: see
// Touch. From the commit on, no reader sees in the cache what was before it, also if the process
// dies at any point. Then the hold ends automatically. OnCacheAway says what happens without a
// hold.
//
// # COMMIT
//
// If the connection is lost in COMMIT, InTx asks PostgreSQL on another one what became of the
// transaction, and with WithOutbox any database. Then it returns nil, or runs fn again. If the
// database does not know, it returns ErrOutcomeUnknown, and never runs fn again. What was touched
// stays held for ten minutes, as the commit may still take effect.
//
// Once COMMIT is sent, the end of ctx interrupts it after five seconds only: a few more moments are
// better than not to know.
//
// # Inner transactions
//
// With a context of this DB's InTx, fn joins that transaction. If it fails, the outer one is rolled
// back, whatever its function returns. With Savepoint, only what the inner fn did is undone.
func (d *DB) InTx(
	ctx context.Context, fn func(context.Context) error, opts ...TxOption,
) error {
	o, err := newTxOptions(opts)
	if err != nil {
		return fmt.Errorf("repository: InTx: %w", err)
	}
	return d.engine.InTx(ctx, fn, o)
}
