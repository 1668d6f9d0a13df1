// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"fmt"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/repository/internal/transact"
)

// Touch says what the statements of a transaction change of what is cached: keys and scopes. From
// before COMMIT until its outcome is known, nothing of it is served from the cache or stored. ctx
// is that of the innermost InTx. What is touched after a savepoint that is rolled back does not
// count.
//
// Name what a reader may have cached before the change, and what one may cache after it. For a row
// that moves from one list to another, name both lists. More than 256 keys of an operation count as
// the operation, and more than 256 scopes or operations of a module count as the module.
//
// The errors: ErrNoTransaction, ErrOver, cache.ErrParams if a key cannot be named, and others that
// say what is wrong with the arguments. Return them, or the cache keeps what was before the change.
func Touch(ctx context.Context, on ...cache.Covered) error {
	if err := transact.Touch(ctx, on); err != nil {
		return fmt.Errorf("repository: Touch: %w", err)
	}
	return nil
}

// AfterCommit has a function called once the transaction of ctx is committed, and readers see what
// it changed. It gets the context that the outermost InTx was called with. It is not called if the
// transaction, or the savepoint around the call, is rolled back, nor if the outcome is unknown.
// Outside of a transaction it is called at once.
//
// InTx calls the functions in the order of AfterCommit, before it returns. The process may end
// before that: what must happen belongs into the transaction.
func AfterCommit(ctx context.Context, fn func(context.Context)) {
	if !transact.AfterCommit(ctx, fn) {
		fn(ctx)
	}
}

// AfterRollback has a function called if the transaction of ctx, or the savepoint around the call,
// is rolled back. Each attempt that InTx repeats is rolled back, too. The function is not called if
// the outcome is unknown. Outside of a transaction it is never called.
func AfterRollback(ctx context.Context, fn func(context.Context)) {
	transact.AfterRollback(ctx, fn)
}
