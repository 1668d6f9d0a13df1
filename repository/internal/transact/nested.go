// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package transact

import (
	"context"
	"fmt"
	"time"

	"github.com/cachewright/cachewright/repository/internal/dialect"
)

// undoTime bounds what ends a savepoint whose context has ended.
const undoTime = 5 * time.Second

// join runs fn as a part of a transaction.
func (f *Frame) join(ctx context.Context, fn func(context.Context) error) error {
	if err := f.usable(); err != nil {
		return err
	}
	err := errPanicked
	defer func() {
		if err != nil {
			f.fail(err)
		}
	}()
	err = f.tx.engine.Typed(fn(ctx))
	return err
}

// runInSavepoint runs fn in a part of a transaction that can be undone alone.
func (f *Frame) runInSavepoint(ctx context.Context, fn func(context.Context) error) error {
	if err := f.usable(); err != nil {
		return err
	}
	point, err := dialect.Save(ctx, f.tx.sql, f.tx.nextSavepoint())
	if err != nil {
		f.tx.observe(err)
		return f.tx.engine.Typed(err)
	}
	inner := &Frame{tx: f.tx, outer: f}
	kept := false
	defer func() {
		if !kept {
			f.tx.undo(ctx, point)
			callAll(ctx, inner.end(false))
		}
	}()
	err = fn(inner.enter(ctx))
	if reason := inner.reasonToUndo(); err == nil && reason != nil {
		err = fmt.Errorf("repository: the savepoint is rolled back: %w", reason)
	}
	if err != nil {
		return f.tx.engine.Typed(err)
	}
	if err := point.Release(ctx); err != nil {
		return f.tx.engine.Typed(err)
	}
	kept = true
	if err := f.adopt(inner); err != nil {
		f.tx.doom(err) // the savepoint is gone
		return err
	}
	return nil
}

// undo takes back what was done since a savepoint. If that fails, the transaction cannot go on.
func (t *transaction) undo(ctx context.Context, point dialect.Savepoint) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	if t.reasonToRollBack() != nil {
		return
	}
	if err := point.Back(ctx); err != nil {
		t.doom(err)
	}
}
