// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"database/sql"
	"fmt"

	"github.com/cachewright/cachewright/repository/internal/transact"
)

// maxAttempts bounds the number of attempts.
const maxAttempts = 100

// TxOption changes one call of InTx.
type TxOption func(*txOptions)

type txOptions struct {
	transact.Options

	err error
}

// Isolation sets the isolation level. Default: that of the database. The driver refuses levels that
// it does not know. It cannot be set for an inner transaction.
func Isolation(level sql.IsolationLevel) TxOption {
	return func(o *txOptions) { o.Isolation = level }
}

// ReadOnly begins a transaction that only reads. Touch refuses it. An inner transaction cannot be
// read-only in one that writes.
func ReadOnly() TxOption { return func(o *txOptions) { o.ReadOnly = true } }

// Attempts bounds how often the function runs if it meets conflicts: 1 to 100, default 5. It cannot
// be set for an inner transaction.
func Attempts(n int) TxOption {
	return func(o *txOptions) {
		if n < 1 || n > maxAttempts {
			o.err = fmt.Errorf("Attempts takes 1 to %d, not %d", maxAttempts, n)
		}
		o.Attempts = n
	}
}

// Savepoint has an inner transaction begin with a savepoint. Its failure undoes what it did, and
// the outer transaction may go on. On an outer transaction it has no effect.
func Savepoint() TxOption { return func(o *txOptions) { o.Savepoint = true } }

func newTxOptions(opts []TxOption) (transact.Options, error) {
	var o txOptions
	for _, option := range opts {
		option(&o)
	}
	return o.Options, o.err
}
