// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/repository/internal/fault"
	"github.com/cachewright/cachewright/repository/internal/settle"
)

// Box writes the rows of transactions, and asks for them. It is safe for concurrent use.
type Box struct {
	sql   *SQL
	fault fault.Reader
}

// NewBox returns a Box of a database whose errors mean what fault says.
func NewBox(s *SQL, f fault.Reader) *Box { return &Box{sql: s, fault: f} }

// NewID returns the id of a transaction.
func NewID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// Begin has triggers leave out what a transaction does.
func (b *Box) Begin(ctx context.Context, tx *sql.Tx, id string) error {
	if b.sql.begin == "" {
		return nil
	}
	_, err := tx.ExecContext(ctx, fill(b.sql.begin, ":tx", id))
	return err
}

// Write writes the row of a transaction.
func (b *Box) Write(ctx context.Context, tx *sql.Tx, id string, on []cache.Covered) error {
	covers, err := encode(on)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx,
		fill(b.sql.write, ":tx", id, ":things", strconv.Itoa(len(on))), covers)
	if err != nil {
		return fmt.Errorf("writing to the outbox, the table of OutboxSQL: %w", err)
	}
	return nil
}

// Ask finds out what became of a transaction that has written its row. It inserts the row again,
// which waits until that transaction has ended. A duplicate says that it is committed.
func (b *Box) Ask(ctx context.Context, pool *sql.DB, id string) (settle.Outcome, error) {
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return settle.Open, err
	}
	defer func() { _ = tx.Rollback() }()
	_, err = tx.ExecContext(ctx, fill(b.sql.ask, ":tx", id))
	switch found := b.fault(err); {
	case err == nil:
		return settle.RolledBack, nil
	case found.Class == fault.Constraint && found.Kind == fault.Unique:
		return settle.Committed, nil
	default:
		return settle.Open, fmt.Errorf("asking the outbox: %w", err)
	}
}
